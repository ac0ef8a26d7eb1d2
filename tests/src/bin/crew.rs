//! Some workers of a fleet, in a process of their own: see `tollgate_tests::crews`.

use std::process::ExitCode;

use clap::Parser;
use tokio::io::{AsyncReadExt, stdin};
use tollgate_client::Client;
use tollgate_demo::{Crew, Scene, Shift, Style, Vendor};

/// Works until its standard input is closed, then tells on standard output what it has done.
#[derive(Debug, Parser)]
struct Args {
    /// The nodes of the cluster.
    #[arg(long, value_delimiter = ',')]
    nodes: Vec<String>,
    /// Where the vendor is.
    #[arg(long)]
    url: String,
    /// Which vendor it is.
    #[arg(long, value_enum)]
    vendor: Vendor,
    /// How many times as fast its clock runs.
    #[arg(long)]
    faster: u32,
    /// What to ask permits for.
    #[arg(long)]
    resource: String,
    /// In whose name.
    #[arg(long)]
    consumer: String,
    /// The first of these workers.
    #[arg(long)]
    first: u32,
    /// How many they are.
    #[arg(long)]
    workers: u32,
    /// How many the fleet has.
    #[arg(long)]
    fleet: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let client = match Client::connect(&args.nodes) {
        Ok(client) => client,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let crew = Crew::start(&Shift {
        style: Style::Tollgate { client, resource: args.resource, consumer: args.consumer },
        scene: Scene { vendor: args.vendor, faster: args.faster },
        url: args.url,
        workers: args.first..args.first + args.workers,
        fleet: args.fleet,
    });
    // Its end, by whatever it comes, is the sign to stop.
    let _ = stdin().read_to_end(&mut Vec::new()).await;
    let tally = serde_json::to_string(&crew.stop().await).expect("a tally is plain data");
    println!("{tally}");
    ExitCode::SUCCESS
}
