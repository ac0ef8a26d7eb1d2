//! Real processes under random faults, for so many minutes; see `tollgate_tests::torture`.

use std::{fs, io, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tollgate_tests::torture::{fault::Fault, report::Report, run};

/// As shells say that a program was ended by Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Runs three servers and their clients under random faults, and judges what the clients saw.
///
/// Ends with 0 if every promise was kept and was put to the test, with 1 if not, with 2 if the machine cannot do it, and
/// with 130 if it was interrupted. Each session of four minutes that is over is in the report, also after Ctrl-C.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long, such as 10 or 0.5.
    #[arg(value_parser = minutes)]
    minutes: Duration,
    /// Repeats the faults of this run; the machine does not repeat itself. Drawn when absent or empty.
    #[arg(long, value_parser = seed)]
    seed: Option<u64>,
    /// Writes the report to this file, too, after each session.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Strikes nothing but this, such as "leader killed"; may be given several times.
    #[arg(long, value_parser = fault)]
    only: Vec<Fault>,
    /// Does not fail when recovery takes longer than it should, or clients give up in a rolling restart, as on machines that do much
    /// else.
    #[arg(long)]
    no_targets: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match torture(Arguments::parse()).await {
        Ok(code) => ExitCode::from(code),
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

async fn torture(arguments: Arguments) -> Result<u8, String> {
    let mut report = Report { seed: arguments.seed.unwrap_or_else(rand::random), ..Report::default() };
    eprintln!("seed {}", report.seed);
    if let Some(path) = &arguments.report {
        // Better now than after an hour.
        let file = fs::File::options().create(true).append(true).open(path);
        file.map_err(|error| format!("--report {}: {error}", path.display()))?;
    }
    let write = |report: &Report| {
        let path = arguments.report.as_ref();
        let written = path.map(|path| fs::write(path, report.to_string()));
        if let Some(Err(error)) = written {
            eprintln!("the report cannot be written: {error}");
        }
    };
    let interrupted = tokio::select! {
        // Ctrl-C in a terminal ends the servers as well. That must not be taken for a finding.
        biased;
        signal = interrupted() => Some(signal.map_err(|error| error.to_string())?),
        // The session that is dropped takes its processes, namespaces and disks with it.
        ended = run::random(&mut report, arguments.minutes, &arguments.only, write) => {
            ended?;
            None
        }
    };
    print!("{report}");
    if let Some(signal) = interrupted {
        eprintln!("{signal}: what session {} has seen was not judged", report.sessions + 1);
    }
    Ok(verdict(&report, interrupted.is_some(), arguments.no_targets))
}

/// The exit code. A run that was cut short may have missed what it was to show.
fn verdict(report: &Report, is_interrupted: bool, no_targets: bool) -> u8 {
    let is_late = !no_targets && !report.missed_targets().is_empty();
    match (report.violations.is_empty() && !is_late, is_interrupted) {
        (false, _) => 1,
        (true, true) => INTERRUPTED,
        (true, false) => u8::from(!report.shortfalls().is_empty()),
    }
}

/// Waits until somebody wants this to end; how.
async fn interrupted() -> io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed.map(|()| "interrupted"),
        _ = terminate.recv() => Ok("terminated"),
    }
}

fn minutes(text: &str) -> Result<Duration, String> {
    let minutes: f64 = text.parse().map_err(|_| "not a number of minutes")?;
    Duration::try_from_secs_f64(minutes * 60.0).map_err(|error| error.to_string())
}

fn seed(text: &str) -> Result<u64, String> {
    // As `just torture 10` says that there is none.
    if text.is_empty() {
        return Ok(rand::random());
    }
    text.parse().map_err(|_| "not a whole number below 2^64".to_owned())
}

fn fault(name: &str) -> Result<Fault, String> {
    let found = Fault::ALL.iter().find(|fault| fault.name() == name).copied();
    found.ok_or_else(|| {
        let names = Fault::ALL.iter().map(|fault| fault.name()).collect::<Vec<_>>();
        format!("there is no such fault, but these:\n  {}", names.join("\n  "))
    })
}

#[cfg(test)]
mod tests {
    use tollgate_tests::torture::{seat::FOUNDERS, tally::Tally};

    use super::*;

    fn parsed(line: &str) -> Result<Arguments, String> {
        Arguments::try_parse_from(line.split('|')).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, named) in [
            ("torture|ten", "invalid value 'ten' for '<MINUTES>': not a number of minutes"),
            ("torture", "<MINUTES>"),
            ("torture|1|--seed|x", "'--seed <SEED>': not a whole number below 2^64"),
            ("torture|1|--only|flood", "there is no such fault, but these:\n  leader killed\n"),
        ] {
            let problem = parsed(line).unwrap_err();
            assert!(problem.contains(named), "{problem}");
        }
        let arguments = parsed("torture|0.5|--seed||--only|disk full|--no-targets").unwrap();
        assert_eq!(arguments.minutes, Duration::from_secs(30));
        assert_eq!(arguments.only, [Fault::FillDisk]);
        assert_eq!(parsed("torture|1|--seed|7").unwrap().seed, Some(7));
    }

    #[test]
    fn only_a_run_that_has_shown_everything_is_good() {
        let mut good = Report {
            struck: [(Fault::KillAll, 1)].into(),
            seen: tollgate_tests::torture::report::SEEN.map(|what| (what, 1)).into(),
            tally: Tally { grants: 2, streamed: 1, through: [1; FOUNDERS], ..Tally::default() },
            ..Report::default()
        };
        assert_eq!(verdict(&good, false, false), 0);
        assert_eq!(verdict(&good, true, false), INTERRUPTED);
        assert_eq!(verdict(&Report::default(), false, false), 1);
        good.recoveries = vec![Duration::from_secs(4); 20];
        assert_eq!((verdict(&good, false, false), verdict(&good, false, true)), (1, 0));
        good.violations.push("S1: too much".to_owned());
        assert_eq!((verdict(&good, true, false), verdict(&good, false, true)), (1, 1));
    }
}
