//! The journal on the disk, in TiKV's raft-engine, with the snapshots beside it.
//!
//! raft-engine truncates a torn batch at the end of its last file, as it must: such a batch was never acknowledged. It
//! refuses a bad batch in any other file, and reading all entries at the start finds those that are damaged within. What
//! it cannot tell from a torn end is damage to a batch's frame in the *last* file: the log then ends early. The replica
//! notices when the leader counts on entries that it has lost ([`Fatal::LostEntries`]).

use std::path::{Path, PathBuf};

use raft::eraftpb::{Entry, HardState};
use raft_engine::{Command, Config, Engine, LogBatch, MessageExt, ReadableSize, RecoveryMode};

use crate::raft::{entry::encode, fatal::Fatal};

use super::{
    LogStore, Mark, Recovered, WriteBatch, data_dir::create_private_dir, snapshot_file::SnapshotFiles,
};

/// The only Raft group so far.
const GROUP: u64 = 1;
const HARD_STATE: &[u8] = b"hard_state";
const MARK: &[u8] = b"mark";

/// A file of the log; freed as a whole.
const FILE_BYTES: u64 = 8 << 20;

/// Files are freed once the log takes this much: compacted entries may take as much on the disk.
const PURGE_BYTES: u64 = 32 << 20;

/// Tells raft-engine what an entry is.
struct RaftEntry;

impl MessageExt for RaftEntry {
    type Entry = Entry;

    fn index(entry: &Entry) -> u64 {
        entry.index
    }
}

/// A [`LogStore`] on the disk.
pub struct EngineStore {
    engine: Engine,
    snapshots: SnapshotFiles,
    path: PathBuf,
    last_index: u64,
}

impl EngineStore {
    /// Opens the log in `path`; creates it when there is none.
    pub fn open(path: &Path, snapshots: SnapshotFiles) -> Result<EngineStore, Fatal> {
        let unreadable = |reason: String| Fatal::LogRead { path: path.into(), reason };
        create_private_dir(path).map_err(|e| unreadable(e.to_string()))?;
        let config = Config {
            dir: path.to_str().ok_or_else(|| unreadable("its path is not UTF-8".to_owned()))?.to_owned(),
            recovery_mode: RecoveryMode::TolerateTailCorruption,
            recovery_threads: 1,
            // Entries are small and written at once: compressing them costs more than it saves.
            batch_compression_threshold: ReadableSize(0),
            target_file_size: ReadableSize(FILE_BYTES),
            purge_threshold: ReadableSize(PURGE_BYTES),
            ..Config::default()
        };
        let engine = Engine::open(config).map_err(|e| unreadable(e.to_string()))?;
        Ok(EngineStore { engine, snapshots, path: path.into(), last_index: 0 })
    }

    fn unreadable(&self, reason: impl ToString) -> Fatal {
        Fatal::LogRead { path: self.path.clone(), reason: reason.to_string() }
    }

    fn load_mark(&self) -> Result<Mark, Fatal> {
        match self.engine.get(GROUP, MARK) {
            Some(bytes) => minicbor::decode(&bytes).map_err(|e| self.unreadable(e)),
            None => Ok(Mark::default()),
        }
    }

    fn load_entries(&self, mark: &Mark) -> Result<Vec<Entry>, Fatal> {
        let mut entries = Vec::new();
        let Some(last) = self.engine.last_index(GROUP) else { return Ok(entries) };
        let first = mark.compacted_index + 1;
        if first <= last {
            self.engine
                .fetch_entries_to::<RaftEntry>(GROUP, first, last + 1, None, &mut entries)
                .map_err(|e| self.unreadable(e))?;
        }
        Ok(entries)
    }

    fn add(&mut self, batch: &WriteBatch, to: &mut LogBatch) -> Result<(), Fatal> {
        if let Some((mark, sealed)) = &batch.install {
            self.snapshots.save(mark.snapshot_index, sealed)?;
            // Also what lies behind the snapshot: it may belong to a leader that was deposed.
            let index = self.last_index.max(mark.compacted_index) + 1;
            to.add_command(GROUP, Command::Compact { index });
            to.put(GROUP, MARK.to_vec(), encode(mark)).map_err(unwritable)?;
        }
        if let Some(last) = batch.entries.last() {
            to.add_entries::<RaftEntry>(GROUP, &batch.entries).map_err(unwritable)?;
            self.last_index = last.index;
        }
        if let Some(hard_state) = &batch.hard_state {
            to.put_message(GROUP, HARD_STATE.to_vec(), hard_state).map_err(unwritable)?;
        }
        if let Some(mark) = &batch.compact {
            to.add_command(GROUP, Command::Compact { index: mark.compacted_index + 1 });
            to.put(GROUP, MARK.to_vec(), encode(mark)).map_err(unwritable)?;
        }
        Ok(())
    }
}

impl LogStore for EngineStore {
    fn load(&mut self) -> Result<Recovered, Fatal> {
        let hard_state: Option<HardState> =
            self.engine.get_message(GROUP, HARD_STATE).map_err(|e| self.unreadable(e))?;
        let mark = self.load_mark()?;
        let entries = self.load_entries(&mark)?;
        self.last_index = entries.last().map_or(mark.compacted_index, |e| e.index);
        let snapshot = match mark.snapshot_index {
            0 => Default::default(),
            index => self.snapshots.load(index)?,
        };
        Ok(Recovered { hard_state: hard_state.unwrap_or_default(), mark, entries, snapshot })
    }

    fn write(&mut self, batches: &[WriteBatch]) -> Result<(), Fatal> {
        let mut log_batch = LogBatch::default();
        for batch in batches {
            self.add(batch, &mut log_batch)?;
        }
        self.engine.write(&mut log_batch, true).map_err(unwritable)?;
        let marks = batches.iter().flat_map(|b| b.install.as_ref().map(|(mark, _)| *mark).or(b.compact));
        if let Some(mark) = marks.last() {
            self.snapshots.retain(mark.snapshot_index)?;
            // What it returns are groups that hold old files back; ours compacts by its own bound.
            self.engine.purge_expired_files().map_err(unwritable)?;
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.engine.get_used_size() as u64
    }
}

fn unwritable(error: raft_engine::Error) -> Fatal {
    Fatal::LogWrite(error.to_string())
}
