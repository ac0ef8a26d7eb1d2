//! The command line: one file a subcommand. Answers go to standard output, for people or as one JSON document; what went
//! wrong goes to standard error, with what to do about it; the exit code says which of the two it was, and why.

mod acquire;
mod bench;
mod cluster;
mod completions;
mod decision;
mod demo;
mod dev;
mod duration;
mod failure;
mod output;
mod plan;
mod preset;
mod release;
mod remote;
mod renew;
mod resource;
mod run;
mod server;
mod table;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

pub use failure::Failure;
pub use output::Output;
use remote::Remote;

use crate::config::Flags;

const EXIT_CODES: &str = "\
Exit codes:
  0  done, or granted
  1  anything else went wrong
  2  the command line or the request is not valid; nothing was changed
  3  denied: ask again later; or planned work can never be done
  4  no node can answer, or the outcome is not known: try again
  5  no such resource, permit or member
  6  conflict: exists already, changed by somebody else, or the permit has ended
`acquire … -- COMMAND` exits as the command does once it runs; 126 or 127 if it cannot be run.";

/// Tollgate hands out permits to call rate-limited APIs, so that a whole fleet stays under every vendor's limits.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, after_help = EXIT_CODES, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs one node.
    Server(Box<Flags>),
    /// Runs three nodes on this machine, with sample resources, to try things out.
    Dev(dev::Args),
    /// Shows in a minute what it is for: a fleet that calls a vendor with backoff alone, then with permits.
    Demo(demo::Args),
    /// Asks for a permit; with `-- COMMAND`, runs it only with a permit, and releases that afterwards.
    Acquire(Box<Asking<acquire::Args>>),
    /// Ends a permit: its slots are free at once.
    Release(Asking<release::Args>),
    /// Extends the lease of a permit.
    Renew(Asking<renew::Args>),
    /// Tells how long some work would take, and which limit holds it up.
    Plan(Asking<plan::Args>),
    /// Shows what is known about vendors' limits; a resource begins with it by `preset = "hubspot:professional"`.
    Preset(preset::Args),
    /// Shows and changes the protected resources and their limits.
    Resource(Administering<resource::Command>),
    /// Shows and changes the cluster.
    Cluster(Administering<cluster::Command>),
    /// Measures how fast a cluster is, under a load that is made here.
    #[command(after_help = bench::HELP)]
    Bench(Box<Asking<bench::Args>>),
    /// What `bench --floor` compares with.
    #[command(name = bench::FLOOR, hide = true)]
    BenchFloor,
    /// Prints a shell's completions for this command.
    Completions(completions::Args),
}

/// Arguments of a subcommand that asks a cluster.
#[derive(Debug, Args)]
struct Asking<T: Args> {
    #[command(flatten)]
    what: T,
    #[command(flatten)]
    remote: Remote,
}

/// Subcommands that ask a cluster.
#[derive(Debug, Args)]
struct Administering<T: Subcommand> {
    #[command(subcommand)]
    what: T,
    #[command(flatten)]
    remote: Remote,
}

/// Does what the process' arguments say. A current-thread runtime: one node's work fits one core, and moving it between
/// threads costs more than it gains.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::new(format!("cannot start: {error}")).report(),
    };
    match runtime.block_on(cli.run()) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

impl Cli {
    async fn run(self) -> Result<ExitCode, Failure> {
        match self.command {
            Command::Server(flags) => server::run(*flags).await,
            Command::Dev(args) => dev::run(args).await,
            Command::Demo(args) => demo::run(args).await,
            Command::Acquire(asking) => {
                let Asking { what, remote } = *asking;
                acquire::run(&remote.client()?, remote.output, what).await
            }
            Command::Release(Asking { what, remote }) => {
                release::run(&remote.client()?, remote.output, what).await
            }
            Command::Renew(Asking { what, remote }) => {
                renew::run(&remote.client()?, remote.output, what).await
            }
            Command::Plan(Asking { what, remote }) => plan::run(&remote.client()?, remote.output, what).await,
            Command::Preset(args) => preset::run(args),
            Command::Resource(Administering { what, remote }) => {
                resource::run(&remote.client()?, remote.output, what).await
            }
            Command::Cluster(Administering { what, remote }) => {
                cluster::run(&remote.client()?, remote.output, what).await
            }
            Command::Bench(asking) => {
                let Asking { what, remote } = *asking;
                bench::run(&remote.client()?, remote.output, what).await
            }
            Command::BenchFloor => bench::serve_floor().await,
            Command::Completions(args) => completions::run(&args),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
