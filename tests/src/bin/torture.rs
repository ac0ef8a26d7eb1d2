//! `torture MINUTES [--seed SEED] [--report FILE] [--only FAULT]…`: real processes under random faults; see `tollgate_tests::torture`.

use std::{env, fs, process::ExitCode, time::Duration};

use tollgate_tests::torture::{fault::Fault, run};

const USAGE: &str = "usage: torture MINUTES [--seed SEED] [--report FILE.md] [--only FAULT]..., such as --only \"leader killed\"";

#[tokio::main]
async fn main() -> ExitCode {
    match torture().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

/// Whether everything held.
async fn torture() -> Result<bool, String> {
    let mut args = env::args().skip(1);
    let minutes: f64 = args.next().and_then(|text| text.parse().ok()).ok_or(USAGE)?;
    let length = Duration::try_from_secs_f64(minutes * 60.0).map_err(|_| USAGE)?;
    let (mut seed, mut path, mut only) = (None, None, Vec::new());
    while let Some(flag) = args.next() {
        let value = args.next().ok_or(USAGE)?;
        match flag.as_str() {
            // Empty: whatever comes.
            "--seed" if value.is_empty() => {}
            "--seed" => seed = Some(value.parse().map_err(|_| USAGE)?),
            "--report" => path = Some(value),
            "--only" => only.push(fault(&value)?),
            _ => return Err(USAGE.to_owned()),
        }
    }
    let seed = seed.unwrap_or_else(rand::random);
    eprintln!("seed {seed}");
    let report = run::random(seed, length, &only).await?;
    print!("{report}");
    if let Some(path) = path {
        fs::write(&path, report.to_string()).map_err(|error| format!("{path}: {error}"))?;
    }
    Ok(report.violations.is_empty())
}

fn fault(name: &str) -> Result<Fault, String> {
    let names = || Fault::ALL.iter().map(|fault| fault.name()).collect::<Vec<_>>().join("\n  ");
    let found = Fault::ALL.iter().find(|fault| fault.name() == name);
    found.copied().ok_or_else(|| format!("there is no fault {name:?}, but these:\n  {}", names()))
}
