//! A snapshot is encoded and written in a thread of its own, which takes care that nobody notices.
//!
//! It works for a moment and rests for longer, by its own will. A low priority would be the obvious way, and is the wrong one: such a
//! thread is stopped wherever it happens to be, also in the middle of a transaction of the file system, and then every sync of the
//! log waits until it has its turn again.
//!
//! Meanwhile the log grows. Where it has become several times as long as it was to become, no rest is taken any more.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::sync::mpsc::UnboundedSender;
use tollgate_limiter::Span;

use crate::{
    clock,
    raft::{log_writer::Stored, machine::Machine},
    storage::snapshot_file::SnapshotFiles,
};

/// How many times as long as it has worked it rests: it has a tenth of a processor at most.
const REST_FACTOR: u64 = 9;

/// A tenth of a millisecond: after less it goes on, because to fall asleep and to wake takes as long.
const WORK_MIN: Span = Span(100_000);

/// Where the machine is busy, what took long was mostly waiting.
const REST_MAX: Span = Span::from_millis(5);

/// Starts the thread; what became of the snapshot is reported. While it `is_late` the thread does not rest.
pub(super) fn take(
    machine: Machine,
    files: SnapshotFiles,
    reports: UnboundedSender<Stored>,
    is_late: Arc<AtomicBool>,
) -> io::Result<()> {
    let take = move || {
        let (index, mut breaks) = (machine.index(), Breaks::begin(is_late));
        let image = machine.image(|| breaks.rest());
        machine.free_with_rests(|| breaks.rest());
        let report = match files.save_with_rests(index, &image, || breaks.rest()) {
            Ok(()) => Stored::Snapshot { index },
            Err(fatal) => Stored::Failed(fatal),
        };
        // If nobody listens, the node has ended: the file is overwritten or deleted after the next start.
        let _ = reports.send(report);
    };
    thread::Builder::new().name("snapshot".to_owned()).spawn(take).map(drop)
}

/// Rests in proportion to the work before.
struct Breaks {
    work_began: Span,
    is_late: Arc<AtomicBool>,
}

impl Breaks {
    fn begin(is_late: Arc<AtomicBool>) -> Breaks {
        Breaks { work_began: clock::monotonic(), is_late }
    }

    fn rest(&mut self) {
        let worked = clock::monotonic().saturating_sub(self.work_began);
        if worked < WORK_MIN || self.is_late.load(Ordering::Relaxed) {
            return;
        }
        let rest = Span(worked.0.saturating_mul(REST_FACTOR)).min(REST_MAX);
        thread::sleep(Duration::from_nanos(rest.0));
        self.work_began = clock::monotonic();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_work_there_is_a_rest_unless_the_log_waits() {
        let is_late = Arc::new(AtomicBool::new(true));
        let mut breaks = Breaks::begin(is_late.clone());
        thread::sleep(Duration::from_nanos(2 * WORK_MIN.0));
        let began = breaks.work_began;
        breaks.rest();
        assert_eq!(breaks.work_began, began, "there is no time to rest");
        is_late.store(false, Ordering::Relaxed);
        breaks.rest();
        let least = Span(2 * WORK_MIN.0 + REST_MAX.0.min(2 * WORK_MIN.0 * REST_FACTOR));
        assert!(breaks.work_began >= began + least);
    }
}
