//! How to reach a cluster.

use std::time::Duration;

use tollgate_client::{Client, NODES_DEFAULT, NODES_VARIABLE};

use super::{Failure, Output, duration};

/// What every subcommand that asks a cluster takes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Asking a cluster")]
pub struct Remote {
    /// The nodes to ask: some are enough, the others are found.
    #[arg(long, global = true, env = NODES_VARIABLE, value_delimiter = ',', value_name = "HOST:PORT,…",
          default_values_t = NODES_DEFAULT.map(str::to_owned))]
    nodes: Vec<String>,

    /// How long to try before giving up, such as 500ms or 10s.
    #[arg(long, global = true, value_name = "DURATION", default_value = "10s", value_parser = patience)]
    timeout: Duration,

    /// The form of the answer.
    #[arg(long, global = true, value_name = "FORM", value_enum, default_value_t)]
    pub output: Output,
}

/// A duration in which something can happen.
fn patience(text: &str) -> Result<Duration, String> {
    match duration::parse(text)? {
        Duration::ZERO => Err("must be longer than 0s: nothing can be answered in no time".to_owned()),
        timeout => Ok(timeout),
    }
}

impl Remote {
    /// A client of the cluster; connects when it is first used.
    pub fn client(&self) -> Result<Client, Failure> {
        let nodes = self.nodes.iter().map(|node| node.trim());
        Ok(Client::connect(nodes)?.with_deadline(self.timeout))
    }
}
