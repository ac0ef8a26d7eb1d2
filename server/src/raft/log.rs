//! The log as Raft reads it: the retained entries, in memory.
//!
//! Entries are here before they are durable. That is what writing asynchronously needs: Raft must be able to read what it
//! handed out as soon as it goes on, and reports only what was persisted. Compaction bounds how much there is.

use std::collections::VecDeque;

use protobuf::Message as _;
use raft::{
    GetEntriesContext, RaftState, Storage, StorageError,
    eraftpb::{ConfState, Entry, Snapshot},
};

use crate::storage::{Mark, Recovered};

use super::members::NodeId;

/// What an entry takes besides its content, roughly.
const ENTRY_OVERHEAD_BYTES: u64 = 64;

/// The log in memory.
#[derive(Debug, Default)]
pub struct Log {
    // What Raft starts with; it keeps its own from then on.
    initial: RaftState,
    mark: Mark,
    // As of the snapshot.
    conf_state: ConfState,
    entries: VecDeque<Entry>,
    bytes: u64,
    // The part of `bytes` that the snapshot contains too.
    tail_bytes: u64,
}

impl Log {
    /// The log that was found on the disk; `conf_state` is that of its snapshot. The error is a reason for people.
    pub fn new(recovered: Recovered, conf_state: ConfState) -> Result<Log, String> {
        let Recovered { mut hard_state, mark, entries, .. } = recovered;
        if let Some(at) = (mark.compacted_index + 1..).zip(&entries).find(|(index, e)| *index != e.index) {
            return Err(format!("entry {} follows where entry {} should", at.1.index, at.0));
        }
        let mut log = Log { mark, conf_state: conf_state.clone(), ..Log::default() };
        log.append(entries);
        let tail = (mark.snapshot_index - mark.compacted_index) as usize;
        log.tail_bytes = log.entries.iter().take(tail).map(weight).sum();
        // What the snapshot contains was committed, whatever was written of it.
        hard_state.commit = hard_state.commit.max(mark.snapshot_index);
        if hard_state.commit > log.last() {
            return Err(format!(
                "it ends at entry {}, but entry {} was committed",
                log.last(),
                hard_state.commit
            ));
        }
        log.initial = RaftState::new(hard_state, conf_state);
        Ok(log)
    }

    /// Where it begins.
    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// The index of the last entry.
    pub fn last(&self) -> u64 {
        self.mark.compacted_index + self.entries.len() as u64
    }

    /// Bytes of the retained entries, roughly.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of the retained entries after the last snapshot, roughly.
    pub fn bytes_since_snapshot(&self) -> u64 {
        self.bytes - self.tail_bytes
    }

    /// Appends consecutive entries; they replace what there is from the first one's index on.
    pub fn append(&mut self, entries: Vec<Entry>) {
        let Some(first) = entries.first() else { return };
        let kept = first.index.saturating_sub(self.mark.compacted_index + 1) as usize;
        let replaced: u64 = self.entries.iter().skip(kept).map(weight).sum();
        self.entries.truncate(kept);
        self.bytes -= replaced;
        self.bytes += entries.iter().map(weight).sum::<u64>();
        self.entries.extend(entries);
    }

    /// Whether the configuration of the last snapshot has this node: one that it does not have cannot start from it.
    pub fn snapshot_has(&self, id: NodeId) -> bool {
        let ConfState { voters, learners, voters_outgoing, .. } = &self.conf_state;
        [voters, learners, voters_outgoing].iter().any(|ids| ids.contains(&id))
    }

    /// Replaces everything by a snapshot from the leader.
    pub fn install(&mut self, mark: Mark, conf_state: ConfState) {
        let initial = std::mem::take(&mut self.initial);
        *self = Log { initial, mark, conf_state, ..Log::default() };
    }

    /// A snapshot at `index` of this log is on the disk: cuts off what it contains, but keeps at most `tail_bytes` of it
    /// for followers that are a little behind. Returns the new mark, or nothing when there is a later snapshot already.
    pub fn compact(&mut self, index: u64, conf_state: ConfState, tail_bytes: u64) -> Option<Mark> {
        let snapshot_term = self.term(index).ok().filter(|_| index > self.mark.snapshot_index)?;
        let within = (index - self.mark.compacted_index) as usize;
        let mut tail = 0;
        let kept = self.entries.iter().take(within).rev().take_while(|e| {
            tail += weight(e);
            tail <= tail_bytes
        });
        let cut = within - kept.count();
        for entry in self.entries.drain(..cut) {
            self.bytes -= weight(&entry);
            (self.mark.compacted_index, self.mark.compacted_term) = (entry.index, entry.term);
        }
        (self.mark.snapshot_index, self.mark.snapshot_term) = (index, snapshot_term);
        self.tail_bytes = self.entries.iter().take(within - cut).map(weight).sum();
        self.conf_state = conf_state;
        Some(self.mark)
    }
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(self.initial.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.mark.compacted_index {
            return Err(StorageError::Compacted.into());
        }
        if high > self.last() + 1 {
            return Err(StorageError::Unavailable.into());
        }
        let skip = (low - self.mark.compacted_index - 1) as usize;
        let max_bytes = max_size.into().unwrap_or(u64::MAX);
        let mut bytes = 0;
        // At least one, however large, or Raft could not go on.
        let fits = |entry: &&Entry| {
            let is_first = bytes == 0;
            bytes += u64::from(entry.compute_size());
            is_first || bytes <= max_bytes
        };
        Ok(self.entries.iter().skip(skip).take((high - low) as usize).take_while(fits).cloned().collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.mark.compacted_index {
            return Ok(self.mark.compacted_term);
        }
        let position = index.checked_sub(self.mark.compacted_index + 1).ok_or(StorageError::Compacted)?;
        match self.entries.get(position as usize) {
            Some(entry) => Ok(entry.term),
            None => Err(StorageError::Unavailable.into()),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.mark.compacted_index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    /// The last snapshot, without its data: that is in a file.
    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        if self.mark.snapshot_index < request_index || !self.snapshot_has(to) {
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        }
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        metadata.index = self.mark.snapshot_index;
        metadata.term = self.mark.snapshot_term;
        metadata.set_conf_state(self.conf_state.clone());
        Ok(snapshot)
    }
}

fn weight(entry: &Entry) -> u64 {
    entry.data.len() as u64 + ENTRY_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use raft::eraftpb::HardState;

    use super::*;

    fn entries(indexes: std::ops::Range<u64>, term: u64) -> Vec<Entry> {
        let entry = |index| Entry { index, term, data: vec![0; 36].into(), ..Entry::default() };
        indexes.map(entry).collect()
    }

    fn indexes(log: &Log, low: u64, high: u64, max: u64) -> Vec<u64> {
        let entries = log.entries(low, high, max, GetEntriesContext::empty(false)).unwrap();
        entries.iter().map(|e| e.index).collect()
    }

    #[test]
    fn a_lower_index_truncates() {
        let mut log = Log::default();
        log.append(entries(1..6, 1));
        log.append(entries(3..5, 2));
        assert_eq!((log.last(), log.term(2).unwrap(), log.term(4).unwrap()), (4, 1, 2));
        assert_eq!(log.bytes(), 400);
    }

    #[test]
    fn compaction_keeps_a_tail_and_the_term_before_it() {
        let mut log = Log::default();
        log.append(entries(1..11, 1));
        let mark = log.compact(8, ConfState::default(), 250).unwrap();
        assert_eq!(mark, Mark { snapshot_index: 8, snapshot_term: 1, compacted_index: 6, compacted_term: 1 });
        assert_eq!((log.first_index().unwrap(), log.last(), log.bytes()), (7, 10, 400));
        assert_eq!(log.bytes_since_snapshot(), 200);
        assert_eq!(log.term(6).unwrap(), 1);
        assert!(log.term(5).is_err() && log.term(11).is_err());
        assert_eq!(log.compact(8, ConfState::default(), 0), None);
    }

    #[test]
    fn reading_is_bounded_but_never_empty() {
        let mut log = Log::default();
        log.append(entries(1..6, 1));
        assert_eq!(indexes(&log, 2, 5, 0), [2]);
        assert_eq!(indexes(&log, 2, 5, u64::MAX), [2, 3, 4]);
    }

    #[test]
    fn a_log_that_lost_what_was_committed_is_refused() {
        let hard_state = HardState { commit: 9, ..HardState::default() };
        let recovered = Recovered { hard_state, entries: entries(1..6, 1), ..Recovered::default() };
        assert!(Log::new(recovered, ConfState::default()).unwrap_err().contains("entry 9"));
        let recovered = Recovered { entries: entries(2..6, 1), ..Recovered::default() };
        assert!(Log::new(recovered, ConfState::default()).is_err());
    }
}
