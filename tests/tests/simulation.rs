//! Simulated clusters: a few seeds, and every scenario that failed once. `just simulate` runs as many as wanted.

use tollgate_tests::sim::{
    regressions,
    run::{run, run_seed},
    scenario::Scenario,
};

/// Few, for they are slow without optimisation: what is to be found is looked for by `just simulate`.
const SEEDS: std::ops::Range<u64> = 5..13;

#[test]
fn a_few_seeds_are_good() {
    for seed in SEEDS {
        let outcome = run_seed(seed);
        assert_eq!(outcome.failed(), None, "seed {seed}: replay it with `just simulate {seed}`");
        assert!(outcome.operations > 0, "seed {seed} asks for nothing");
    }
}

#[test]
fn what_failed_once_does_not_fail_again() {
    for (name, scenario) in regressions::all().unwrap() {
        assert_eq!(run(&scenario, false).failed(), None, "{name}");
    }
}

#[test]
fn a_run_follows_from_its_scenario() {
    let scenario = Scenario::draw(7);
    assert_eq!(run(&scenario, false).trace, run(&scenario, false).trace);
    assert_ne!(run(&scenario, false).trace, run(&Scenario::draw(8), false).trace);
}
