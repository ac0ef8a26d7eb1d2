//! `tollgate release`.

use std::process::ExitCode;

use serde_json::json;
use tollgate_client::{Client, Outcome};

use super::{Failure, Output, acquire::parse_amount, duration, output::seconds};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The permit's id, as `acquire` printed it.
    permit_id: String,

    /// How the vendor call ended. `not-sent` gives back all that the permit debited: say it only when it is certain.
    #[arg(long, value_enum, default_value_t)]
    outcome: Ended,

    /// What the call truly cost, if it differs from what was acquired.
    #[arg(long)]
    cost: Option<u64>,

    /// What the call truly weighed in a dimension, such as output_tokens=842. Repeat it for others.
    #[arg(long = "amount", value_name = "DIMENSION=NUMBER", value_parser = parse_amount)]
    amounts: Vec<(String, u64)>,
}

/// How a vendor call ended.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Ended {
    /// The vendor served it.
    #[default]
    Ok,
    /// The vendor refused it for its own limits (429).
    Throttled,
    /// The vendor refused it as wrong (other 4xx).
    ClientError,
    /// The vendor failed (5xx).
    ServerError,
    /// The vendor did not answer, or not in time.
    Timeout,
    /// It never left.
    NotSent,
    /// Nobody knows: it may have arrived.
    Unknown,
}

pub async fn run(client: &Client, output: Output, args: Args) -> Result<ExitCode, Failure> {
    let mut release = client.release(&args.permit_id).outcome(args.outcome.into());
    if let Some(cost) = args.cost {
        release = release.cost(cost);
    }
    for (dimension, amount) in args.amounts {
        release = release.amount(dimension, amount);
    }
    let held_for = release.await?;
    output.print(
        || format!("released {} after {}", args.permit_id, duration::human(held_for)),
        || json!({ "permit_id": args.permit_id, "held_for_seconds": seconds(held_for) }),
    )?;
    Ok(ExitCode::SUCCESS)
}

impl From<Ended> for Outcome {
    fn from(ended: Ended) -> Outcome {
        match ended {
            Ended::Ok => Outcome::Ok,
            Ended::Throttled => Outcome::Throttled,
            Ended::ClientError => Outcome::ClientError,
            Ended::ServerError => Outcome::ServerError,
            Ended::Timeout => Outcome::Timeout,
            Ended::NotSent => Outcome::NotSent,
            Ended::Unknown => Outcome::Unknown,
        }
    }
}
