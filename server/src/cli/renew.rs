//! `tollgate renew`.

use std::{process::ExitCode, time::Duration};

use serde_json::json;
use tollgate_client::Client;

use super::{Failure, Output, duration, output::seconds};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The permit's id, as `acquire` printed it.
    permit_id: String,

    /// The new lease, from now; never shortens what is left [default: the resource's].
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    lease: Option<Duration>,
}

pub async fn run(client: &Client, output: Output, args: Args) -> Result<ExitCode, Failure> {
    let renewal = client.renew(&args.permit_id);
    let lease = match args.lease {
        Some(lease) => renewal.lease(lease).await?,
        None => renewal.await?,
    };
    output.print(
        || format!("renewed {}: held for another {}", args.permit_id, duration::human(lease)),
        || json!({ "permit_id": args.permit_id, "lease_seconds": seconds(lease) }),
    )?;
    Ok(ExitCode::SUCCESS)
}
