//! `tollgate demo`: a fleet with backoff alone, then through Tollgate, in the crate `tollgate-demo`; and how it is shown.

mod text;

use std::{env, fs, process, process::ExitCode};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::to_value;
use tokio::signal::unix::SignalKind;
use tollgate_client::Client;
use tollgate_demo::{Comparison, Error, Plan, compare};

use super::{
    Failure, Output,
    dev::{Layout, Node, first_end, healthy, listen, prepare, stop},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    what: tollgate_demo::Args,

    /// The first of the ports for the three nodes; the last is 22 higher.
    #[arg(long, value_name = "PORT", default_value_t = 7700, value_parser = clap::value_parser!(u16).range(1..=65_513))]
    base_port: u16,

    /// The form of the answer.
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Output,
}

pub async fn run(args: Args) -> Result<ExitCode, Failure> {
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let directory = env::temp_dir().join(format!("tollgate-demo-{}", process::id()));
    let layout = Layout { directory, base_port: args.base_port, presets: Vec::new() };
    prepare(&layout, true)?;
    let mut nodes = layout.ids().map(|id| Node::start(&layout, id)).collect::<Result<Vec<_>, _>>()?;

    let interrupted = || Err(Failure::new("interrupted; nothing is reported"));
    let compared = tokio::select! {
        compared = show(&layout, args.what.plan()) => compared,
        failure = first_end(&layout, &mut nodes) => Err(failure),
        _ = interrupt.recv() => interrupted(),
        _ = terminate.recv() => interrupted(),
    };
    stop(&mut nodes).await;
    // What stays behind is in the directory for temporary files.
    let _ = fs::remove_dir_all(&layout.directory);
    let comparison = compared?;
    args.output
        .print(|| text::text(&args.what.plan(), &comparison), || to_value(&comparison).unwrap_or_default())?;
    Ok(ExitCode::SUCCESS)
}

/// Shows on standard error how it goes, where that is a terminal.
async fn show(layout: &Layout, plan: Plan) -> Result<Comparison, Failure> {
    let style = ProgressStyle::with_template("{msg}").expect("the template is correct");
    let live = ProgressBar::new_spinner().with_style(style);
    live.set_message("three nodes start …");
    let client = Client::connect(layout.ids().map(|id| layout.client_address(id)))?;
    healthy(&client).await?;
    let watch = |comparison: &Comparison| live.set_message(text::text(&plan, comparison));
    let compared = compare(&client, plan, watch).await;
    live.finish_and_clear();
    Ok(compared?)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Cluster(error) => error.into(),
            Error::Vendor(_) | Error::Worker(_) => Failure::new(error.to_string()),
        }
    }
}
