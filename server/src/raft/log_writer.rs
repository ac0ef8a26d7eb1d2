//! The thread that writes the log: it takes everything that waits, writes it at once, and syncs once.

use std::{sync::mpsc, thread};

use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::mpsc::UnboundedSender;

use crate::{
    clock,
    storage::{LogStore, WriteBatch},
};

use super::fatal::Fatal;

/// What the threads that write report.
#[derive(Debug)]
pub enum Stored {
    /// All batches up to this number are durable.
    Log {
        /// The number.
        number: u64,
        /// What the log takes on the disk now.
        log_bytes: u64,
    },
    /// A snapshot is on the disk.
    Snapshot {
        /// Its last entry.
        index: u64,
    },
    /// A write failed. Nothing is written any more.
    Failed(Fatal),
}

/// Starts the thread. It ends when the sender that this returns is dropped; until then, every batch is reported to
/// `reports`, or the failure. How many batches wait is bounded by the replica, not by the channel.
pub fn start(
    mut store: impl LogStore + 'static,
    reports: UnboundedSender<Stored>,
    fsync_seconds: Histogram,
) -> std::io::Result<(mpsc::Sender<WriteBatch>, thread::JoinHandle<()>)> {
    let (batches_in, batches) = mpsc::channel::<WriteBatch>();
    let thread = thread::Builder::new().name("log-writer".to_owned()).spawn(move || {
        while let Ok(first) = batches.recv() {
            let waiting: Vec<_> = std::iter::once(first).chain(batches.try_iter()).collect();
            let began = clock::monotonic();
            let report = match store.write(&waiting) {
                Ok(()) => {
                    let number = waiting.iter().map(|batch| batch.number).max().unwrap_or_default();
                    Stored::Log { number, log_bytes: store.bytes() }
                }
                Err(fatal) => Stored::Failed(fatal),
            };
            fsync_seconds.observe((clock::monotonic().0 - began.0) as f64 / 1e9);
            let failed = matches!(report, Stored::Failed(_));
            if reports.send(report).is_err() || failed {
                return;
            }
        }
    })?;
    Ok((batches_in, thread))
}
