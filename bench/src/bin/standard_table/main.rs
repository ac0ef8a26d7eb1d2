//! `just bench`: the standard table, on three fresh nodes of this machine, as Markdown. Rows appear as they are measured.

mod cluster;
mod disk;
mod h2load;
mod measurement;
mod rows;
mod stall;

use std::{
    error::Error,
    path::{Path, PathBuf},
    process::Command,
};

use clap::Parser;

use self::{cluster::Cluster, rows::Table};

/// As servers have it by default.
const SNAPSHOT_LOG: &str = "64MiB";

/// Measures the standard table on three fresh nodes, and prints it as Markdown.
#[derive(Parser)]
struct Cli {
    /// The program to measure.
    #[arg(long, value_name = "FILE", default_value = "target/release/tollgate")]
    tollgate: PathBuf,

    /// Where the nodes keep their data: on the disk that is to be measured.
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    data_dir: PathBuf,

    /// The first port of the nodes.
    #[arg(long, value_name = "PORT", default_value_t = 17_600)]
    base_port: u16,

    /// Seconds for which each side of a comparison is loaded.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(6..))]
    rounds: u32,

    /// Only the rows whose name contains this.
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let Cli { tollgate, data_dir, base_port, rounds, only } = Cli::parse();
    let cluster = Cluster::start(&tollgate, &data_dir, base_port, SNAPSHOT_LOG).await?;
    println!("{}\n", circumstances(&tollgate));
    println!("| case | measured | target | |\n|---|---|---|---|");
    Table { cluster, rounds, only }.print().await
}

/// Without which no figure means anything.
fn circumstances(tollgate: &Path) -> String {
    let said = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().ok();
        let said = output.and_then(|output| String::from_utf8(output.stdout).ok());
        said.map(|said| said.trim().to_owned()).filter(|said| !said.is_empty())
    };
    let or_unknown = |said: Option<String>| said.unwrap_or_else(|| "unknown".to_owned());
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let model = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let version = said(&tollgate.to_string_lossy(), &["--version"]);
    format!(
        "{}, {} ({}), {cpus} cores: {}, {}",
        or_unknown(said("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        or_unknown(version),
        or_unknown(said("git", &["describe", "--always", "--dirty"])),
        or_unknown(model),
        or_unknown(said("uname", &["-sr"])),
    )
}
