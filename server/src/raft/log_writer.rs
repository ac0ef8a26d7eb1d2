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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tokio::sync::mpsc::unbounded_channel;

    use crate::storage::Recovered;

    use super::*;

    /// Writes until the disk fails, and notes every attempt.
    struct Failing {
        good_writes: usize,
        attempts: Arc<Mutex<Vec<Vec<u64>>>>,
    }

    impl LogStore for Failing {
        fn load(&mut self) -> Result<Recovered, Fatal> {
            Ok(Recovered::default())
        }

        fn write(&mut self, batches: &[WriteBatch]) -> Result<(), Fatal> {
            let mut attempts = self.attempts.lock();
            attempts.push(batches.iter().map(|batch| batch.number).collect());
            if attempts.len() > self.good_writes { Err(Fatal::LogWrite("EIO".to_owned())) } else { Ok(()) }
        }

        fn bytes(&self) -> u64 {
            0
        }
    }

    fn batch(number: u64) -> WriteBatch {
        WriteBatch { number, ..WriteBatch::default() }
    }

    #[test]
    fn after_a_failure_nothing_is_written_any_more() {
        let attempts = Arc::default();
        let store = Failing { good_writes: 1, attempts: Arc::clone(&attempts) };
        let (reports, mut reported) = unbounded_channel();
        let (batches, thread) = start(store, reports, Histogram::new([1.0])).unwrap();
        batches.send(batch(1)).unwrap();
        assert!(matches!(reported.blocking_recv(), Some(Stored::Log { number: 1, .. })));
        batches.send(batch(2)).unwrap();
        assert!(matches!(reported.blocking_recv(), Some(Stored::Failed(Fatal::LogWrite(_)))));
        thread.join().unwrap();
        assert!(batches.send(batch(3)).is_err());
        assert_eq!(*attempts.lock(), [[1], [2]]);
    }

    #[test]
    fn what_waits_is_written_at_once_and_in_order() {
        let attempts = Arc::default();
        let store = Failing { good_writes: usize::MAX, attempts: Arc::clone(&attempts) };
        let (reports, mut reported) = unbounded_channel();
        let (batches, thread) = {
            // While nobody can write, batches gather.
            let held = attempts.lock();
            let started = start(store, reports, Histogram::new([1.0])).unwrap();
            (1..=5).for_each(|number| started.0.send(batch(number)).unwrap());
            drop(held);
            started
        };
        drop(batches);
        thread.join().unwrap();
        let written: Vec<_> = attempts.lock().concat();
        assert_eq!(written, [1, 2, 3, 4, 5]);
        assert!(attempts.lock().len() <= 2, "all that gathered behind the first is one write");
        let last = std::iter::from_fn(|| reported.try_recv().ok()).last();
        assert!(matches!(last, Some(Stored::Log { number: 5, .. })));
    }
}
