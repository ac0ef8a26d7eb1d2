//! Runs simulated clusters: many seeds on all cores, or one with its trace. `just simulate`, `just simulate SEED`.

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use clap::Parser;
use tollgate_server::clock;
use tollgate_tests::{
    check::{CHECKS, PROPERTIES},
    sim::{
        coverage::Coverage,
        minimise::minimise,
        regressions,
        run::{run, run_seed},
        scenario::Scenario,
        world::{Failure, OWN_CHECKS},
    },
};

/// A simulated world is many small values that come and go: the system's allocator took a sixth of the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Seeds below which nobody expects that everything happens at least once.
const COVERING_SEEDS: u64 = 1_000;

/// Simulates whole clusters under faults, and judges what happened.
#[derive(Parser)]
struct Arguments {
    /// Replays this seed, and tells what happens.
    seed: Option<u64>,
    /// Replays this scenario, as kept in tests/regressions.
    #[arg(long, conflicts_with = "seed")]
    scenario: Option<PathBuf>,
    /// How many seeds to run when none is given.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first of them; drawn from the wall clock when absent.
    #[arg(long)]
    first: Option<u64>,
    /// Worlds at a time; as many as there are cores when absent.
    #[arg(long)]
    threads: Option<usize>,
    /// Goes on after a seed that fails.
    #[arg(long)]
    keep_going: bool,
    /// Takes only these for a failure: guarantees or checkers, such as S4,holders.
    #[arg(long, value_delimiter = ',', value_parser = known_check, conflicts_with_all = ["seed", "scenario"])]
    check: Vec<String>,
    /// Does not shorten and keep scenarios that fail.
    #[arg(long)]
    no_minimise: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let is_good = match (&arguments.seed, &arguments.scenario) {
        (Some(seed), _) => replay(&Scenario::draw(*seed)),
        (None, Some(path)) => match regressions::load(path) {
            Ok(scenario) => replay(&scenario),
            Err(error) => {
                eprintln!("{}: {error}", path.display());
                false
            }
        },
        (None, None) => explore(&arguments),
    };
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The name of a check, as [`Failure::is_called`] takes it.
fn known_check(name: &str) -> Result<String, String> {
    let known = || PROPERTIES.iter().chain(OWN_CHECKS).copied().chain(CHECKS.iter().map(|(name, _)| *name));
    match known().any(|known| known == name) {
        true => Ok(name.to_owned()),
        false => Err(format!("there are {}", known().collect::<Vec<_>>().join(", "))),
    }
}

/// Runs it twice, because what differs from run to run is a failure, too.
fn replay(scenario: &Scenario) -> bool {
    println!("{scenario:#?}");
    let outcome = run(scenario, true);
    let has_parted = run(scenario, false).trace != outcome.trace;
    println!("\nSeen, and what happened:");
    print!("{}", outcome.coverage);
    println!("{} operations, trace {:016x}", outcome.operations, outcome.trace);
    for failure in &outcome.failures {
        println!("\nFAILS {failure}");
    }
    if has_parted {
        println!("\nFAILS determinism: another run of the same was not the same");
    }
    match outcome.failures.len() + usize::from(has_parted) {
        0 => println!("nothing is wrong"),
        count => println!(
            "\n{count} failures; what they name (`op 17`, `entry 3`) is in the trace above, after the last FAULT that matters"
        ),
    }
    outcome.failures.is_empty() && !has_parted
}

/// What all threads have come to.
#[derive(Default)]
struct Tally {
    coverage: Coverage,
    operations: u64,
    runs: u64,
    failed: Vec<(u64, Failure)>,
}

fn explore(arguments: &Arguments) -> bool {
    // A run that panics is reported with its seed; the text of the panic is part of that, and this is where it was.
    std::panic::set_hook(Box::new(|panic| {
        if let Some(place) = panic.location() {
            println!("a run panics at {place}");
        }
    }));
    let first = arguments.first.unwrap_or_else(|| clock::wall().0.unsigned_abs() / 1_000_000_000 * 100_000);
    let end = first + arguments.seeds;
    let threads = arguments.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    println!("seeds {first} to {} on {threads} threads", end - 1);
    let (next, tally) = (AtomicU64::new(first), Mutex::new(Tally::default()));
    let began = clock::monotonic();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work(&next, end, &tally, arguments));
        }
        scope.spawn(|| report(&next, end, &tally, began.0));
    });
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{}", progress(&tally, began.0));
    print!("{}", tally.coverage);
    for (seed, failure) in &tally.failed {
        tell_failure(*seed, failure, arguments.no_minimise);
    }
    tally.failed.is_empty() && covers(&tally, arguments.seeds)
}

fn work(next: &AtomicU64, end: u64, tally: &Mutex<Tally>, arguments: &Arguments) {
    let checks = &arguments.check;
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return;
        }
        let outcome = run_seed(seed);
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.runs += 1;
        tally.operations += outcome.operations;
        tally.coverage.merge(&outcome.coverage);
        let counts =
            |failure: &Failure| checks.is_empty() || checks.iter().any(|check| failure.is_called(check));
        if let Some(failure) = outcome.failures.iter().find(|failure| counts(failure)).cloned() {
            println!("seed {seed} fails {failure}");
            tally.failed.push((seed, failure));
            if !arguments.keep_going {
                next.store(end, Ordering::Relaxed);
            }
        }
    }
}

fn report(next: &AtomicU64, end: u64, tally: &Mutex<Tally>, began: u64) {
    while next.load(Ordering::Relaxed) < end {
        for _ in 0..50 {
            thread::sleep(Duration::from_millis(100));
            if next.load(Ordering::Relaxed) >= end {
                return;
            }
        }
        println!("{}", progress(&tally.lock().unwrap_or_else(PoisonError::into_inner), began));
    }
}

fn progress(tally: &Tally, began: u64) -> String {
    let seconds = (clock::monotonic().0 - began) as f64 / 1e9;
    let missing = tally.coverage.missing();
    format!(
        "{:>7} seeds, {:.1}/s, {} operations, {} failed; {} kinds of events still to be seen{}{}",
        tally.runs,
        tally.runs as f64 / seconds,
        tally.operations,
        tally.failed.len(),
        missing.len(),
        if missing.is_empty() { "" } else { ": " },
        missing.iter().take(4).copied().collect::<Vec<_>>().join(", "),
    )
}

fn tell_failure(seed: u64, failure: &Failure, no_minimise: bool) {
    println!("\nseed {seed} fails {failure}");
    println!("replay it with: just simulate {seed}");
    // Two runs that differ do not get any clearer by being shorter.
    if no_minimise || failure.check == "determinism" {
        return;
    }
    let (scenario, runs) = minimise(&Scenario::draw(seed), &failure.check);
    let (faults, clients) = (scenario.faults.len(), scenario.clients.len());
    println!("after {runs} runs it is down to {faults} faults, {clients} clients, {} ms", scenario.lasts_ms);
    match regressions::keep(&scenario, &failure.check) {
        Ok(path) => println!("kept; replay it with: just simulate --scenario {}", path.display()),
        Err(error) => println!("it cannot be kept: {error}"),
    }
}

fn covers(tally: &Tally, seeds: u64) -> bool {
    let missing = tally.coverage.missing();
    if seeds >= COVERING_SEEDS && !missing.is_empty() {
        println!("never happened in {seeds} seeds: {}", missing.join(", "));
        return false;
    }
    true
}
