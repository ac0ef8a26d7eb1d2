//! How a replica comes to life.

use std::sync::Arc;

use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval},
};

use crate::{
    metrics::Metrics,
    storage::{LogStore, Recovered, data_dir::DataDir, engine::EngineStore, snapshot_file::SnapshotFiles},
};

use super::{
    super::{
        door::Inside,
        fatal::Fatal,
        log_writer,
        peers::Peers,
        replica::{ELECTION_TICKS, Replica, ReplicaConfig, founding},
        slog_drain,
    },
    Beginning, Driver, NodeConfig, Running,
    disk::Disk,
    effects::Effects,
    planner::Planner,
};

/// Starts the replica of `data_dir` as a task of the current runtime: reads its log and its snapshot, joins or founds
/// the cluster, and serves the door until it is told to end.
pub fn start(
    config: NodeConfig,
    data_dir: DataDir,
    inside: Inside,
    peers: Arc<dyn Peers>,
    metrics: Metrics,
) -> Result<Running, Fatal> {
    let snapshots = SnapshotFiles::new(data_dir.snapshots_path())?;
    let mut store = EngineStore::open(&data_dir.log_path(), snapshots.clone())?;
    let recovered = recover(&mut store, config.beginning, &data_dir)?;
    let replica_config = ReplicaConfig {
        id: data_dir.identity().node,
        incarnation: data_dir.identity().incarnation,
        snapshot_log_bytes: config.snapshot_log_bytes,
        seed: None,
    };
    let replica = Replica::new(replica_config, recovered, &slog_drain::logger())?;

    let (reports, stored) = mpsc::unbounded_channel();
    let (batches, log_writer) = log_writer::start(store, reports.clone(), metrics.fsync_seconds.clone())
        .map_err(|e| Fatal::LogWrite(e.to_string()))?;
    let planner = Planner::start().map_err(Fatal::NoThread)?;
    let (shutdown, shutdown_asked) = oneshot::channel();
    let mut ticker = interval(config.election_timeout.div_f64(ELECTION_TICKS as f64));
    // A process that was stopped for a while must not take it for many election timeouts.
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let driver = Driver {
        effects: Effects::new(data_dir.identity().node, peers, batches, snapshots, reports, planner, metrics),
        replica,
        inside,
        stored,
        shutdown: Some(shutdown_asked),
        ticker,
        ticks: 0,
        disk: Disk::new(config.disk_reserve_bytes),
        log_writer,
        data_dir,
    };
    Ok(Running { task: tokio::spawn(driver.run()), shutdown })
}

/// Reads the log. A founder whose log is empty writes what all founders write, once: a log that is empty later was lost,
/// and a node without it must not vote as if it had promised nothing.
fn recover(store: &mut EngineStore, beginning: Beginning, data_dir: &DataDir) -> Result<Recovered, Fatal> {
    let mut recovered = store.load()?;
    if recovered.is_fresh() && data_dir.has_begun() {
        return Err(Fatal::LostLog { path: data_dir.log_path() });
    }
    if let Beginning::Found(members) = beginning
        && recovered.is_fresh()
    {
        store.write(&[founding(members)])?;
        recovered = store.load()?;
    }
    if !recovered.is_fresh() && !data_dir.has_begun() {
        data_dir.begin()?;
    }
    Ok(recovered)
}
