//! What others notice while a snapshot is written.

use std::{collections::BTreeSet, error::Error, fmt, path::PathBuf, time::Duration};

use tokio::time::sleep;
use tollgate_bench::median;

use super::{
    cluster::Cluster,
    measurement::Measurement,
    row::{micros, thousands},
};

/// A state that takes a moment to write.
const LOAD: &str = "acquire --resources 20000";

/// The smallest there may be: one snapshot after the other.
const SNAPSHOT_LOG: &str = "1MiB";

/// So far from the ports of the first cluster are those of the second.
const SECOND_CLUSTER: u16 = 100;

/// Pairs of a measurement without snapshots and one with them: as few as decide any other row.
const PAIRS: usize = 6;

/// How often to look which snapshots there are.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The 99th percentile at half of the peak, without and with snapshots.
pub struct Stall {
    rate: f64,
    pairs: Vec<(Duration, Duration)>,
    snapshots: usize,
}

impl Stall {
    /// Measures a cluster that writes none, and one beside it that writes one after the other, in turn.
    pub async fn measure(quiet: &Cluster, seconds: u32) -> Result<Stall, Box<dyn Error>> {
        let data_dir = quiet.data_dir.with_extension("snapshots");
        let busy = Cluster::start(&quiet.tollgate, &data_dir, quiet.base_port + SECOND_CLUSTER, SNAPSHOT_LOG)
            .await?;
        let peak = Measurement::take(quiet, &format!("{LOAD} --duration {seconds}s")).await?;
        let rate = (peak.rate("leader") / 2.0).floor();
        let load = format!("{LOAD} --rate {rate} --duration {seconds}s");
        let (mut pairs, mut snapshots) = (Vec::new(), BTreeSet::new());
        for _ in 0..PAIRS {
            let without = Measurement::take(quiet, &load).await?;
            let with = watch(&busy, Measurement::take(&busy, &load), &mut snapshots).await?;
            pairs.push((without.latency("leader", "p99"), with.latency("leader", "p99")));
        }
        match snapshots.len() {
            written if written > PAIRS => Ok(Stall { rate, pairs, snapshots: written }),
            written => Err(format!("{written} snapshots were written: too few to tell").into()),
        }
    }

    /// How many times the quiet one: the median of the pairs.
    pub fn times(&self) -> f64 {
        let times = |(without, with): &(Duration, Duration)| with.as_secs_f64() / without.as_secs_f64();
        let times: Vec<f64> = self.pairs.iter().map(times).collect();
        median(&times).unwrap_or(f64::NAN)
    }
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stall { rate, pairs, snapshots } = self;
        write!(f, "{:.1} × the quiet one at {} a second", self.times(), thousands(*rate))?;
        for (without, with) in pairs {
            write!(f, "; {} instead of {}", micros(*with), micros(*without))?;
        }
        write!(f, "; {snapshots} snapshots on one node")
    }
}

/// Measures, and sees which snapshots are written meanwhile.
async fn watch(
    cluster: &Cluster,
    measurement: impl Future<Output = Result<Measurement, Box<dyn Error>>>,
    seen: &mut BTreeSet<PathBuf>,
) -> Result<Measurement, Box<dyn Error>> {
    tokio::pin!(measurement);
    loop {
        tokio::select! {
            measured = &mut measurement => return measured,
            () = sleep(LOOK_EVERY) => seen.extend(cluster.snapshots()?),
        }
    }
}
