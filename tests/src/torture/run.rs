//! A run: session after session, each on a fresh cluster, until the time is over.

use std::{ops::ControlFlow, time::Duration};

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use tokio::time::Instant;

use super::{
    fault::Fault,
    network::{Kind, Network},
    report::Report,
    session::{self, Session},
};

/// How long a session is: long enough for dozens of faults on one cluster, short enough for its history to be judged in
/// memory.
const SESSION: Duration = Duration::from_secs(240);

/// Kills of the leader among every round of the other faults: how soon a cluster recovers from them is a promise, and
/// percentiles need many.
const LEADER_KILLS: usize = 6;

/// Draws faults: every one of them once before any comes again.
struct Deck {
    faults: Vec<Fault>,
    rng: StdRng,
    left: Vec<Fault>,
}

impl Iterator for Deck {
    type Item = Fault;

    fn next(&mut self) -> Option<Fault> {
        if self.left.is_empty() {
            self.left = self.faults.clone();
            self.left.shuffle(&mut self.rng);
        }
        self.left.pop()
    }
}

/// Faults at random for so long, on both kinds of networks in turn: all kinds, or these only. Each session's network and
/// faults follow from the report's seed. Whoever stops this early, or wants to know how it goes, has the report of all
/// sessions that are over; `after` is told after each.
///
/// # Errors
/// What the machine cannot do at all. When one cluster has come to stand, that another does not is a violation.
pub async fn random(
    report: &mut Report,
    length: Duration,
    only: &[Fault],
    mut after: impl FnMut(&Report),
) -> Result<(), String> {
    let began = Instant::now();
    let mut faults = only.to_vec();
    if faults.is_empty() {
        faults = Fault::ALL.to_vec();
        faults.extend([Fault::KillLeader; LEADER_KILLS - 1]);
    }
    let mut deck = Deck { faults, rng: StdRng::seed_from_u64(report.seed), left: Vec::new() };
    let kinds = networks(report).await;
    let mut goes_on = ControlFlow::Continue(());
    while began.elapsed() < length && goes_on.is_continue() {
        let kind = kinds[report.sessions as usize % kinds.len()];
        let ends_at = Instant::now() + SESSION.min(length - began.elapsed());
        eprintln!("session {} of seed {}, network by {}", report.sessions + 1, report.seed, kind.name());
        let seed = report.seed.wrapping_add(report.sessions << 32);
        let in_time = |_: &Session| Instant::now() < ends_at;
        goes_on = report.add_or_accuse(session::run(kind, seed, &mut deck, &in_time).await)?;
        report.took = began.elapsed();
        after(report);
    }
    Ok(())
}

/// For how long a list of faults is gone through.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// From then on no more than [`kinds_min`](Bounds::kinds_min) needs.
    pub length: Duration,
    /// Goes on until so many kinds were struck, however slow the machine is.
    pub kinds_min: usize,
    /// But not for longer.
    pub longest: Duration,
}

/// These faults, once each in this order, on one cluster: in network namespaces where the machine allows them and a cluster
/// comes to stand in them, else by proxies. The report says which, and why.
///
/// # Errors
/// What the machine cannot do at all.
pub async fn listed(faults: &[Fault], seed: u64, bounds: Bounds) -> Result<Report, String> {
    let began = Instant::now();
    let mut report = Report { seed, ..Report::default() };
    let mut kinds = networks(&mut report).await;
    while let Some(kind) = kinds.pop() {
        let since = Instant::now();
        let goes_on = |session: &Session| bounds.go_on(since.elapsed(), session.kinds());
        match session::run(kind, seed, &mut faults.iter().copied(), &goes_on).await {
            Ok(session) => {
                report.add(session);
                report.took = began.elapsed();
                return Ok(report);
            }
            Err(why) if kinds.is_empty() => return Err(why),
            // Such as a firewall between bridges, which lets namespaces be made and nothing be said.
            Err(why) => report.absent.push(format!("no cluster in {}: {why}", kind.name())),
        }
    }
    Err("this machine has no network".to_owned())
}

impl Bounds {
    fn go_on(self, elapsed: Duration, kinds: usize) -> bool {
        elapsed < self.length || (kinds < self.kinds_min && elapsed < self.longest)
    }
}

/// What this machine can do; what loses packets last.
async fn networks(report: &mut Report) -> Vec<Kind> {
    match Network::new(Kind::Namespaces).await {
        Ok(_) => Kind::ALL.to_vec(),
        Err(why) => {
            report.absent.push(format!("no network namespaces: {why}"));
            vec![Kind::Proxies]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_machine_goes_on_until_enough_kinds_were_struck() {
        let [length, longest] = [60, 600].map(Duration::from_secs);
        let bounds = Bounds { length, kinds_min: 10, longest };
        for (seconds, kinds, goes_on) in
            [(0, 0, true), (59, 14, true), (60, 10, false), (60, 9, true), (599, 9, true), (600, 9, false)]
        {
            assert_eq!(
                bounds.go_on(Duration::from_secs(seconds), kinds),
                goes_on,
                "{seconds} s, {kinds} kinds"
            );
        }
    }
}
