//! What a node cannot go on after. The process stops, and the message says why and what to do.

use std::{io, path::PathBuf};

use crate::storage::data_dir::DataDirError;

use super::members::NodeId;

/// Why the process stops.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// A write or an fsync failed. It is never tried again: see [`crate::storage`].
    #[error(
        "the log cannot be written: {0}; this node stops, and recovers by restarting once the disk is well"
    )]
    LogWrite(String),
    /// A thread cannot be started.
    #[error("the system refuses this node a thread: {0}")]
    NoThread(io::Error),
    /// The log cannot be read.
    #[error("the log in {path} cannot be read: {reason}; if it cannot be restored, remove this member and add it under a new id", path = path.display())]
    LogRead {
        /// Its directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The log was read, and is empty where it was not before.
    #[error("the log in {path} is gone, and with it what this node acknowledged: remove this member and add it under a new id with an empty data_dir", path = path.display())]
    LostLog {
        /// Its directory.
        path: PathBuf,
    },
    /// The data directory cannot be written.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The log was read, and makes no sense.
    #[error(
        "the log of this node is damaged: {0}; if it cannot be restored, remove this member and add it under a new id"
    )]
    BrokenLog(String),
    /// The snapshot was read, and makes no sense.
    #[error(
        "the snapshot of this node at entry {index} cannot be understood: {reason}; if a newer version wrote it, run that one; otherwise remove this member and add it under a new id"
    )]
    BrokenSnapshot {
        /// The last entry that it should contain.
        index: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A snapshot cannot be written.
    #[error("snapshot {path} cannot be written: {source}", path = path.display())]
    SnapshotWrite {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A snapshot cannot be read.
    #[error("snapshot {path} is damaged: {reason}; if it cannot be restored, remove this member and add it under a new id", path = path.display())]
    SnapshotRead {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A committed entry cannot be understood: a newer version wrote it.
    #[error(
        "log entry {index} cannot be understood ({reason}): a newer version of Tollgate wrote it; upgrade this node"
    )]
    UnknownEntry {
        /// Which.
        index: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The state here is not what the leader's is.
    #[error(
        "the state of this node differs from that of leader {leader} at log entry {index} (digest {ours:016x}, not {theirs:016x}): it stops rather than grant what is not free; if it was founded with other members than the leader, correct them and begin anew; otherwise remove it, add it under a new id, and report this as a bug"
    )]
    Diverged {
        /// Whose state is taken as the truth.
        leader: NodeId,
        /// Where it was seen.
        index: u64,
        /// The digest here.
        ours: u64,
        /// The digest there.
        theirs: u64,
    },
    /// The disk lost entries that this node had acknowledged.
    #[error(
        "the log of this node ends at entry {last}, but it acknowledged entry {acknowledged} to leader {leader}: its disk lost them; remove this member and add it under a new id"
    )]
    LostEntries {
        /// The last entry here.
        last: u64,
        /// The last that the leader knows to be here.
        acknowledged: u64,
        /// Who says so.
        leader: NodeId,
    },
    /// This node is not part of the cluster any more.
    #[error(
        "this node was removed from the cluster; its data directory can be deleted, and its id {0} is never used again"
    )]
    Removed(NodeId),
    /// The replication library refused what it should not.
    #[error("raft: {0}")]
    Raft(#[from] raft::Error),
    /// The thread that writes the log is gone.
    #[error("the thread that writes the log is gone: an fsync failed; this node stops")]
    LogWriterGone,
}
