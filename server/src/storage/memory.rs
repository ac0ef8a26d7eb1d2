//! A journal in memory that forgets, when told to, what a crash would: whatever was not synced.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use raft::eraftpb::{Entry, HardState};

use crate::raft::fatal::Fatal;

use super::{LogStore, Mark, Recovered, WriteBatch};

/// A disk of the simulated kind. Clones are the same disk: it outlives the process that writes it.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Clone, Debug, Default)]
struct Disk {
    synced: Contents,
    // In the order in which they were written since the last sync.
    unsynced: Vec<WriteBatch>,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    hard_state: HardState,
    mark: Mark,
    entries: BTreeMap<u64, Entry>,
    snapshots: BTreeMap<u64, Bytes>,
}

impl MemoryStore {
    /// An empty disk.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// Writes a batch into the cache of the disk: a crash may lose it until [`MemoryStore::sync`].
    pub fn write_unsynced(&self, batch: WriteBatch) {
        self.disk.lock().unsynced.push(batch);
    }

    /// Makes everything durable.
    pub fn sync(&self) {
        let mut disk = self.disk.lock();
        for batch in std::mem::take(&mut disk.unsynced) {
            disk.synced.write(&batch);
        }
    }

    /// A crash: all but the first `kept` unsynced batches are lost.
    pub fn crash(&self, kept: usize) {
        let mut disk = self.disk.lock();
        disk.unsynced.truncate(kept);
        drop(disk);
        self.sync();
    }

    /// Stores a snapshot file, durably, as the background writer does. The log does not know it yet.
    pub fn save_snapshot(&self, index: u64, bytes: Bytes) {
        self.disk.lock().synced.snapshots.insert(index, bytes);
    }

    /// The snapshot file of that index, if it is still there.
    pub fn snapshot(&self, index: u64) -> Option<Bytes> {
        self.disk.lock().synced.snapshots.get(&index).cloned()
    }
}

impl LogStore for MemoryStore {
    fn load(&mut self) -> Result<Recovered, Fatal> {
        let disk = self.disk.lock();
        let Contents { hard_state, mark, entries, snapshots } = &disk.synced;
        Ok(Recovered {
            hard_state: hard_state.clone(),
            mark: *mark,
            entries: entries.values().cloned().collect(),
            snapshot: snapshots.get(&mark.snapshot_index).cloned().unwrap_or_default(),
        })
    }

    fn write(&mut self, batches: &[WriteBatch]) -> Result<(), Fatal> {
        for batch in batches {
            self.write_unsynced(batch.clone());
        }
        self.sync();
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.disk.lock().synced.entries.values().map(|e| e.data.len() as u64).sum()
    }
}

impl Contents {
    fn write(&mut self, batch: &WriteBatch) {
        if let Some((mark, bytes)) = &batch.install {
            self.snapshots.insert(mark.snapshot_index, bytes.clone());
            self.entries.clear();
            self.set_mark(*mark);
        }
        if let Some(first) = batch.entries.first() {
            self.entries.split_off(&first.index);
            self.entries.extend(batch.entries.iter().map(|e| (e.index, e.clone())));
        }
        if let Some(hard_state) = &batch.hard_state {
            self.hard_state = hard_state.clone();
        }
        if let Some(mark) = batch.compact {
            self.entries = self.entries.split_off(&(mark.compacted_index + 1));
            self.set_mark(mark);
        }
    }

    fn set_mark(&mut self, mark: Mark) {
        self.mark = mark;
        self.snapshots.retain(|index, _| *index >= mark.snapshot_index);
    }
}
