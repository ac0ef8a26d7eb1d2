//! What a node keeps on its disk: who it is, its log, its last snapshot.
//!
//! The log is a journal: it is written as the replica goes, and read only at a start. While it runs, the replica reads
//! the retained entries from memory ([`crate::raft::log::Log`]), where they are before they are durable; compaction
//! bounds both.
//!
//! **Invariant:** a write or fsync that fails stops the process, and is never tried again: after a failed fsync the
//! kernel may have dropped the pages and say so only once (Rebello et al., "Can Applications Recover from fsync
//! Failures?", ATC 2020).

pub mod commit_mark;
pub mod data_dir;
pub mod engine;
pub mod memory;
pub mod snapshot_file;

use bytes::Bytes;
use raft::eraftpb::{Entry, HardState};

use crate::raft::fatal::Fatal;

/// Where a log begins: at a snapshot, and after the entries that were cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Mark {
    /// The last entry that the snapshot contains; 0: there is none.
    #[n(0)]
    pub snapshot_index: u64,
    /// Its term.
    #[n(1)]
    pub snapshot_term: u64,
    /// The last entry that was cut off: at most `snapshot_index`, less when a tail is kept for slow followers.
    #[n(2)]
    pub compacted_index: u64,
    /// Its term.
    #[n(3)]
    pub compacted_term: u64,
}

impl Mark {
    /// The mark of a log that consists of a snapshot and nothing else.
    pub fn at(index: u64, term: u64) -> Mark {
        Mark { snapshot_index: index, snapshot_term: term, compacted_index: index, compacted_term: term }
    }
}

/// A step of the log. Its parts become durable together, in this order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WriteBatch {
    /// Names the write when it is reported as durable; rises.
    pub number: u64,
    /// A snapshot that replaces everything before it. Durable before anything else is written.
    pub install: Option<(Mark, Bytes)>,
    /// Consecutive entries; whatever the log has from the first one's index on is replaced.
    pub entries: Vec<Entry>,
    /// Term, vote and commit index.
    pub hard_state: Option<HardState>,
    /// A snapshot that is on the disk already, and up to where the log may be cut.
    pub compact: Option<Mark>,
}

impl WriteBatch {
    /// Whether there is anything to write.
    pub fn is_empty(&self) -> bool {
        self.install.is_none()
            && self.entries.is_empty()
            && self.hard_state.is_none()
            && self.compact.is_none()
    }
}

/// What a node finds at its start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovered {
    /// Term, vote and commit index.
    pub hard_state: HardState,
    /// Where the log begins.
    pub mark: Mark,
    /// The entries after [`Mark::compacted_index`], consecutive.
    pub entries: Vec<Entry>,
    /// The snapshot's bytes, checked; empty when there is none.
    pub snapshot: Bytes,
}

impl Recovered {
    /// Whether the node was never part of a cluster.
    pub fn is_fresh(&self) -> bool {
        *self == Recovered::default()
    }
}

/// A durable journal.
pub trait LogStore: Send {
    /// Reads everything. Called once, first.
    fn load(&mut self) -> Result<Recovered, Fatal>;

    /// Writes all batches, in order, durably when it returns. After an error the store must not be used again.
    fn write(&mut self, batches: &[WriteBatch]) -> Result<(), Fatal>;

    /// Bytes that the log takes on the disk.
    fn bytes(&self) -> u64;
}
