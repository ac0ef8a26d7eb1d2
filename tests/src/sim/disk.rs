//! Disks that forget what was not synced.
//!
//! The log writer of a real node takes every batch that waits, writes them, and syncs once; meanwhile others gather. So
//! does this one. A crash keeps the first few of the batches that were not synced: the real log ends at its last whole
//! record, whether the tail was lost, torn or flipped, and a batch is one record. What the bytes of a damaged tail look
//! like is the business of the engine's own tests.
//!
//! Snapshots are written in the background, each into a file that gets its name when it is whole. So a crash finds such a file
//! there or not, never half of it as the whole.

use std::collections::{BTreeMap, VecDeque};

use tollgate_server::{
    raft::fatal::Fatal,
    storage::{LogStore as _, Recovered, WriteBatch, memory::MemoryStore},
};

/// One machine's disk. It outlives the processes.
#[derive(Debug, Default)]
pub struct Disk {
    durable: MemoryStore,
    unsynced: VecDeque<WriteBatch>,
    // Of those, the first few are being synced.
    syncing: usize,
    // Snapshots that are being written, by their last entry.
    being_written: BTreeMap<u64, Vec<u8>>,
    // Does not survive its next sync.
    fails: bool,
    // Damage in the middle, among what was synced: it must never be cut silently, and nothing starts from it.
    rotten: bool,
}

impl Disk {
    /// An empty disk.
    pub fn new() -> Disk {
        Disk::default()
    }

    /// Writes a batch durably, before any process runs.
    pub fn prepare(&mut self, batch: WriteBatch) -> Result<(), Fatal> {
        self.durable.write(&[batch])
    }

    /// What a process finds at its start.
    pub fn load(&mut self) -> Result<Recovered, Fatal> {
        match self.rotten {
            true => Err(Fatal::BrokenLog("a record in its middle has a wrong checksum".to_owned())),
            false => self.durable.load(),
        }
    }

    /// Writes a batch: it is not durable yet.
    pub fn write(&mut self, batch: WriteBatch) {
        self.unsynced.push_back(batch);
    }

    /// Begins to sync what was written, unless it is at that already or there is nothing.
    pub fn begin_sync(&mut self) -> bool {
        if self.syncing > 0 || self.unsynced.is_empty() {
            return false;
        }
        self.syncing = self.unsynced.len();
        true
    }

    /// The sync ends. Returns up to which number writes are durable now.
    pub fn end_sync(&mut self) -> Result<u64, Fatal> {
        let batches: Vec<_> = self.unsynced.drain(..std::mem::take(&mut self.syncing)).collect();
        if std::mem::take(&mut self.fails) {
            // What the kernel made of the pages is anybody's guess; here it dropped them.
            self.unsynced.clear();
            return Err(Fatal::LogWrite("EIO".to_owned()));
        }
        self.durable.write(&batches)?;
        Ok(batches.iter().map(|batch| batch.number).max().unwrap_or_default())
    }

    /// How many batches a crash may lose.
    pub fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// Whether a snapshot is being installed that a crash may lose.
    pub fn is_installing(&self) -> bool {
        self.unsynced.iter().any(|batch| batch.install.is_some())
    }

    /// Begins to write a snapshot: nobody finds it yet.
    pub fn begin_snapshot(&mut self, index: u64, sealed: Vec<u8>) {
        self.being_written.insert(index, sealed);
    }

    /// A snapshot is there, durably. The log does not know it yet.
    pub fn end_snapshot(&mut self, index: u64) {
        if let Some(sealed) = self.being_written.remove(&index) {
            self.durable.save_snapshot(index, sealed.into());
        }
    }

    /// Whether a snapshot is being written that a crash may lose.
    pub fn is_writing_snapshot(&self) -> bool {
        !self.being_written.is_empty()
    }

    /// A crash: all but the first `kept` batches that were not synced are lost; and snapshots that were being written, unless they
    /// had just got their names.
    pub fn crash(&mut self, kept: usize, keeps_snapshots: bool) -> Result<(), Fatal> {
        for (index, sealed) in std::mem::take(&mut self.being_written) {
            if keeps_snapshots {
                self.durable.save_snapshot(index, sealed.into());
            }
        }
        let kept: Vec<_> = self.unsynced.drain(..).take(kept).collect();
        self.syncing = 0;
        self.durable.write(&kept)
    }

    /// The next sync fails.
    pub fn fail_next_sync(&mut self) {
        self.fails = true;
    }

    /// A bit flips among what was synced.
    pub fn rot(&mut self) {
        self.rotten = true;
    }

    /// Whether it did.
    pub fn is_rotten(&self) -> bool {
        self.rotten
    }

    /// The next sync does not fail any more.
    pub fn mend(&mut self) {
        self.fails = false;
    }

    /// The snapshots that are whole. They lie beside the log.
    pub fn snapshots(&self) -> &MemoryStore {
        &self.durable
    }
}

#[cfg(test)]
mod tests {
    use raft::eraftpb::Entry;

    use super::*;

    fn batch(number: u64) -> WriteBatch {
        let entry = Entry { index: number, term: 1, ..Entry::default() };
        WriteBatch { number, entries: vec![entry], ..WriteBatch::default() }
    }

    fn entries(disk: &mut Disk) -> usize {
        disk.load().unwrap().entries.len()
    }

    #[test]
    fn a_crash_loses_what_was_not_synced() {
        let mut disk = Disk::new();
        disk.write(batch(1));
        assert!(disk.begin_sync());
        disk.write(batch(2));
        disk.write(batch(3));
        assert!(!disk.begin_sync(), "one sync at a time");
        assert_eq!(disk.end_sync().unwrap(), 1);
        disk.crash(1, false).unwrap();
        assert_eq!(entries(&mut disk), 2);
    }

    #[test]
    fn a_snapshot_is_there_once_it_is_whole() {
        let mut disk = Disk::new();
        disk.begin_snapshot(7, vec![1, 2]);
        assert!(disk.is_writing_snapshot() && disk.snapshots().snapshot(7).is_none());
        disk.end_snapshot(7);
        assert!(!disk.is_writing_snapshot());
        disk.crash(0, false).unwrap();
        assert_eq!(disk.snapshots().snapshot(7).as_deref(), Some(&[1, 2][..]));
    }

    #[test]
    fn a_crash_finds_a_snapshot_that_is_being_written_whole_or_not_at_all() {
        for keeps_snapshots in [false, true] {
            let mut disk = Disk::new();
            disk.begin_snapshot(7, vec![1, 2]);
            disk.crash(0, keeps_snapshots).unwrap();
            assert_eq!(disk.snapshots().snapshot(7).is_some(), keeps_snapshots);
            // The process that would have ended it is gone.
            disk.end_snapshot(7);
            assert_eq!(disk.snapshots().snapshot(7).is_some(), keeps_snapshots);
        }
    }

    #[test]
    fn a_failed_sync_makes_nothing_durable() {
        let mut disk = Disk::new();
        disk.write(batch(1));
        disk.begin_sync();
        disk.fail_next_sync();
        assert!(matches!(disk.end_sync(), Err(Fatal::LogWrite(_))));
        assert_eq!(entries(&mut disk), 0);
    }

    #[test]
    fn nothing_starts_from_damage_in_the_middle() {
        let mut disk = Disk::new();
        disk.rot();
        assert!(matches!(disk.load(), Err(Fatal::BrokenLog(_))));
    }
}
