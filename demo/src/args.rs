//! The command line of `tollgate demo`.

use std::time::Duration;

use crate::{run::Plan, scene::Vendor};

/// What to show.
#[derive(Clone, Debug, clap::Args)]
// Commands that flatten this have arguments, and so a group, of the same name.
#[group(skip)]
pub struct Args {
    /// Which vendor to imitate.
    #[arg(long, value_enum, default_value_t = Vendor::Hubspot)]
    vendor: Vendor,

    /// Workers of the fleet: 10 to 2,000. Every tenth does interactive work, of high priority.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(10..=2_000))]
    workers: u32,

    /// How long each of the two runs takes: 3 to 600. In less than 20 there is little to compare.
    #[arg(long, value_name = "SECONDS", default_value_t = 24, value_parser = clap::value_parser!(u64).range(3..=600))]
    seconds: u64,
}

impl Args {
    /// What was asked for.
    pub fn plan(&self) -> Plan {
        Plan { vendor: self.vendor, workers: self.workers, length: Duration::from_secs(self.seconds) }
    }
}
