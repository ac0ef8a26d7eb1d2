//! Disks that forget what was not synced.
//!
//! The log writer of a real node takes every batch that waits, writes them, and syncs once; meanwhile others gather. So
//! does this one. A crash keeps the first few of the batches that were not synced: the real log ends at its last whole
//! record, whether the tail was lost, torn or flipped, and a batch is one record. What the bytes of a damaged tail look
//! like is the business of the engine's own tests.

use std::collections::VecDeque;

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

    /// A crash: all but the first `kept` batches that were not synced are lost.
    pub fn crash(&mut self, kept: usize) -> Result<(), Fatal> {
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

    /// The snapshots, which are written durably and beside the log.
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
        disk.crash(1).unwrap();
        assert_eq!(entries(&mut disk), 2);
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
