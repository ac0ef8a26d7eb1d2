//! One scenario, run and judged.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::check::{self, Violation};

use super::{
    coverage::Coverage,
    healing::WELL_AFTER,
    scenario::Scenario,
    world::{Failure, World},
};

/// Every so many seeds, one runs twice and must give the same trace.
pub const TWICE_EVERY: u64 = 20;

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Of everything that happened, in order.
    pub trace: u64,
    /// What happened at least once.
    pub coverage: Coverage,
    /// Operations that clients asked for.
    pub operations: u64,
    /// What is wrong; empty for a good run.
    pub failures: Vec<Failure>,
}

impl Outcome {
    /// What is wrong first, if anything is.
    pub fn failed(&self) -> Option<&Failure> {
        self.failures.first()
    }
}

/// Runs the scenario of a seed; one seed in [`TWICE_EVERY`] twice.
pub fn run_seed(seed: u64) -> Outcome {
    let scenario = Scenario::draw(seed);
    let mut outcome = run(&scenario, false);
    if seed.is_multiple_of(TWICE_EVERY) && outcome.failures.is_empty() {
        let again = run(&scenario, false);
        if again.trace != outcome.trace {
            let what = format!("two runs differ: {:016x} and {:016x}", outcome.trace, again.trace);
            outcome.failures.push(Failure { check: "determinism".to_owned(), checker: None, what });
        }
    }
    outcome
}

/// Runs a scenario, and puts what happened to the checkers. With `is_told`, tells what happens as it does.
pub fn run(scenario: &Scenario, is_told: bool) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| run_and_judge(scenario, is_told))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let failure = Failure {
            check: "panic".to_owned(),
            checker: None,
            what: text.unwrap_or_else(|| "without a message".to_owned()),
        };
        Outcome { failures: vec![failure], ..Outcome::default() }
    })
}

fn run_and_judge(scenario: &Scenario, is_told: bool) -> Outcome {
    let mut world = World::new(scenario, is_told);
    world.run();
    if world.failures.is_empty() {
        world.check_liveness();
    }
    let verdict = check::judge(&world.history);
    verdict.seen.iter().for_each(|(what, count)| world.coverage.saw(what, *count));
    let mut failures = world.failures;
    failures.extend(verdict.violations.into_iter().map(failure));
    Outcome {
        trace: world.trace.digest(),
        operations: world.history.operations().len() as u64,
        coverage: world.coverage,
        failures,
    }
}

fn failure(violation: Violation) -> Failure {
    let evidence: String = violation.evidence.iter().map(|line| format!("\n    {line}")).collect();
    Failure {
        check: violation.property.to_owned(),
        checker: Some(violation.checker),
        what: format!("{}{evidence}", violation.what),
    }
}

impl World {
    /// What must hold at the end of a run in liveness mode: a leader serves, and all members run and have applied the same.
    fn check_liveness(&mut self) {
        let Some(ending) = self.history.ending.clone() else { return };
        if ending.healed_at.is_none_or(|healed_at| ending.at < healed_at + WELL_AFTER) {
            return;
        }
        match self.has_converged() {
            true => self.coverage.hit("converged after healing"),
            false => {
                let leader = self.leader();
                let members: Vec<_> = self.members().by_id.into_keys().collect();
                let what = format!("members {members:?}, leader {leader:?}, standings {:?}", ending.nodes);
                self.fail("convergence", what);
            }
        }
    }
}
