//! `just bench`: the standard table, on three fresh nodes of this machine, as Markdown. Rows appear as they are measured.

mod bench;
mod cluster;
mod disk;
mod grants;
mod h2load;
mod h2load_output;
mod measurement;
mod processors;
mod row;
mod sections;
mod stall;
mod table;

use std::{
    error::Error,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use clap::Parser;

use self::{bench::Bench, cluster::Cluster, processors::Shares, table::Table};

/// As servers have it by default.
const SNAPSHOT_LOG: &str = "64MiB";

/// How long the machine is watched without the nodes, before the table and after it.
const WATCH: Duration = Duration::from_secs(5);

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
    println!("{}", circumstances(&tollgate));
    tell_rest("before").await;
    println!();
    let cluster = Cluster::start(&tollgate, &data_dir, base_port, SNAPSHOT_LOG).await?;
    let table = Table { bench: Bench { cluster, rounds }, only };
    let failed = table.print().await;
    // Stops the nodes.
    drop(table);
    println!();
    tell_rest("after").await;
    match failed {
        0 => Ok(()),
        _ => Err(format!("{failed} rows could not be measured").into()),
    }
}

/// What others have of the machine while it has nothing to do here: they would be in every row.
async fn tell_rest(when: &str) {
    if let Some(Shares { stolen, idle }) = processors::during(WATCH).await {
        let seconds = WATCH.as_secs();
        println!("Processors without the nodes, {seconds} s {when}: {stolen:.0} % stolen, {idle:.0} % idle.");
    }
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
