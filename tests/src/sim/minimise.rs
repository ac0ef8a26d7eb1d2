//! Shortens a scenario that fails: leaves out faults, clients and handovers, calms the network, and ends earlier where nothing has to
//! heal, for as long as it still fails by the same check (delta debugging: Zeller, Hildebrandt 2002, in its simplest form).

use super::{run::run, scenario::Scenario};

/// Runs that are spent on one scenario at most.
const RUNS_MAX: usize = 300;

/// The shortest scenario found that fails as this one does, and how often it was run.
pub fn minimise(scenario: &Scenario, check: &str) -> (Scenario, usize) {
    let mut search = Search { best: scenario.clone(), check, runs: 0 };
    search.shorten_time();
    search.drop_parts(|scenario| scenario.faults.len(), |scenario, range| drop(scenario.faults.drain(range)));
    search
        .drop_parts(|scenario| scenario.clients.len(), |scenario, range| drop(scenario.clients.drain(range)));
    search.drop_parts(
        |scenario| scenario.handovers.len(),
        |scenario, range| drop(scenario.handovers.drain(range)),
    );
    search.calm();
    search.drop_parts(|scenario| scenario.faults.len(), |scenario, range| drop(scenario.faults.drain(range)));
    (search.best, search.runs)
}

struct Search<'a> {
    best: Scenario,
    check: &'a str,
    runs: usize,
}

impl Search<'_> {
    /// Keeps the candidate if it fails by the same check.
    fn try_out(&mut self, candidate: Scenario) -> bool {
        if self.runs >= RUNS_MAX {
            return false;
        }
        self.runs += 1;
        let fails = run(&candidate, false).failures.iter().any(|failure| failure.check == self.check);
        if fails {
            self.best = candidate;
        }
        fails
    }

    /// Halves the time while it still fails. What liveness needs after healing stays.
    fn shorten_time(&mut self) {
        if self.best.healed_at_ms.is_some() {
            return;
        }
        for part in [2, 4, 8] {
            loop {
                let lasts_ms = self.best.lasts_ms - self.best.lasts_ms / part;
                let mut candidate = Scenario { lasts_ms, ..self.best.clone() };
                candidate.faults.retain(|planned| planned.at_ms < lasts_ms);
                if !self.try_out(candidate) {
                    break;
                }
            }
        }
    }

    /// Leaves out parts of a list: halves of it first, single ones at last.
    fn drop_parts(
        &mut self,
        count: impl Fn(&Scenario) -> usize,
        leave_out: impl Fn(&mut Scenario, std::ops::Range<usize>),
    ) {
        let mut size = count(&self.best).div_ceil(2);
        while size > 0 {
            let mut begin = 0;
            while begin < count(&self.best) {
                let end = (begin + size).min(count(&self.best));
                let mut candidate = self.best.clone();
                leave_out(&mut candidate, begin..end);
                if !self.try_out(candidate) {
                    begin = end;
                }
            }
            size /= 2;
        }
    }

    /// Takes away what is wrong with the network, the clocks and the clients' habits, one by one.
    fn calm(&mut self) {
        let calmer: [fn(&mut Scenario); 5] = [
            |scenario| scenario.weather.lost_permille = 0,
            |scenario| scenario.weather.repeated_permille = 0,
            |scenario| scenario.weather.reorders = false,
            |scenario| scenario.drift_ppm = vec![0],
            |scenario| scenario.clients.iter_mut().for_each(|temper| temper.deaf = 0),
        ];
        for change in calmer {
            let mut candidate = self.best.clone();
            change(&mut candidate);
            if candidate != self.best {
                self.try_out(candidate);
            }
        }
    }
}
