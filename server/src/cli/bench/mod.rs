//! `tollgate bench`: the load generator of the crate `tollgate-bench`, and how its report is shown.

mod json;
mod text;

use std::{env, process::ExitCode};

use tokio::process::Command;
use tollgate_bench::Error;
use tollgate_client::Client;

use super::{Failure, Output, failure::Code};

/// The hidden subcommand that `--floor` starts as a process of its own.
pub const FLOOR: &str = "bench-floor";

pub use tollgate_bench::Args;

pub const HELP: &str = "\
Examples:
  tollgate bench                                        throughput of unary calls to the leader
  tollgate bench --floor --target leader,follower,all   the same beside the floor, and through followers
  tollgate bench --connections 1 --in-flight 1          latency without load
  tollgate bench --rate 5000 --duration 60s             latency at a fixed rate
  tollgate bench stream --limits 4 --resources 100000 --zipf 1
It makes resources named bench-…, and removes them when it ends. It runs on one thread.";

pub async fn run(client: &Client, output: Output, args: Args) -> Result<ExitCode, Failure> {
    let plan = args.plan()?;
    let mut floor = Command::new(
        env::current_exe().map_err(|error| Failure::new(format!("cannot find this program: {error}")))?,
    );
    floor.arg(FLOOR);
    let report = tollgate_bench::run(client, plan, floor).await?;
    output.print(|| text::text(&report), || json::json(&report))?;
    Ok(ExitCode::SUCCESS)
}

pub async fn serve_floor() -> Result<ExitCode, Failure> {
    let served = tollgate_bench::serve_until_parent_ends().await;
    served.map(|()| ExitCode::SUCCESS).map_err(|error| Failure::new(error.to_string()))
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Usage(message) => Failure::with(Code::Usage, message),
            Error::Cluster(error) => error.into(),
            Error::Connect { .. } | Error::Target(_) | Error::Stuck { .. } => {
                Failure::with(Code::Unavailable, error.to_string())
            }
            Error::Floor(_) | Error::Unexpected(_) | Error::Signals(_) | Error::Interrupted => {
                Failure::new(error.to_string())
            }
        }
    }
}
