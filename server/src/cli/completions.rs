//! `tollgate completions`.

use std::process::ExitCode;

use clap::CommandFactory;

use super::{Cli, Failure, output};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// For which shell. bash: `source <(tollgate completions bash)`.
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tollgate", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
