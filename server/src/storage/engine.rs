//! The journal on the disk, in TiKV's raft-engine, with the snapshots beside it.
//!
//! raft-engine truncates a torn batch at the end of its last file, as it must: such a batch was never acknowledged. It
//! refuses a bad batch in any other file, and reading all entries at the start finds those that are damaged within. What
//! it cannot tell from a torn end is damage to a batch's frame in the *last* file: the log then ends early. A second
//! witness does ([`CommitMark`]), and so does a leader that counts on what was lost ([`Fatal::LostEntries`]).

use std::path::{Path, PathBuf};

use raft::eraftpb::{Entry, HardState};
use raft_engine::{Command, Config, Engine, LogBatch, MessageExt, ReadableSize, RecoveryMode};

use crate::{
    clock,
    raft::{entry::encode, fatal::Fatal},
};

use super::{
    LogStore, Mark, Recovered, WriteBatch, commit_mark::CommitMark, data_dir::create_private_dir,
    snapshot_file::SnapshotFiles,
};

/// The only Raft group so far.
const GROUP: u64 = 1;
const HARD_STATE: &[u8] = b"hard_state";
const MARK: &[u8] = b"mark";
const COMMIT_MARK: &str = "committed";

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
    commit_mark: CommitMark,
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
        let commit_mark = CommitMark::new(path.join(COMMIT_MARK));
        Ok(EngineStore { engine, snapshots, commit_mark, path: path.into(), last_index: 0 })
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
        let committed = self.commit_mark.read();
        if self.last_index < committed {
            let last = self.last_index;
            return Err(
                self.unreadable(format!("it ends at entry {last}, but entry {committed} was written"))
            );
        }
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
        if let Some(hard_state) = batches.iter().rev().find_map(|batch| batch.hard_state.as_ref()) {
            self.commit_mark
                .advance(hard_state.commit, clock::monotonic())
                .map_err(|e| Fatal::LogWrite(e.to_string()))?;
        }
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{super::snapshot_file::seal, *};

    fn open(dir: &tempfile::TempDir) -> Result<EngineStore, Fatal> {
        let snapshots = SnapshotFiles::new(dir.path().join("snapshots")).unwrap();
        EngineStore::open(&dir.path().join("log"), snapshots)
    }

    fn entries(indexes: std::ops::Range<u64>, term: u64) -> Vec<Entry> {
        let entry = |index| Entry { index, term, data: vec![index as u8; 40].into(), ..Entry::default() };
        indexes.map(entry).collect()
    }

    fn batch(entries: Vec<Entry>, commit: u64) -> WriteBatch {
        WriteBatch { entries, hard_state: Some(state(commit)), ..WriteBatch::default() }
    }

    fn state(commit: u64) -> HardState {
        HardState { term: 3, vote: 2, commit, ..HardState::default() }
    }

    fn found(dir: &tempfile::TempDir) -> Recovered {
        open(dir).unwrap().load().unwrap()
    }

    fn indexes(recovered: &Recovered) -> Vec<(u64, u64)> {
        recovered.entries.iter().map(|entry| (entry.index, entry.term)).collect()
    }

    /// The log's only file.
    fn log_file(dir: &tempfile::TempDir) -> PathBuf {
        let files = fs::read_dir(dir.path().join("log")).unwrap().map(|file| file.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|e| e == "raftlog")).max().unwrap()
    }

    /// Where the last write begins in the file.
    fn last_write(dir: &tempfile::TempDir, before: &[u8]) -> (Vec<u8>, usize) {
        let after = fs::read(log_file(dir)).unwrap();
        let begin = after.iter().zip(before).take_while(|(a, b)| a == b).count();
        (after, begin)
    }

    #[test]
    fn what_was_written_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        assert!(found(&dir).is_fresh());
        let mut store = open(&dir).unwrap();
        store.load().unwrap();
        store.write(&[batch(entries(1..6, 1), 2), batch(entries(4..5, 3), 3)]).unwrap();
        drop(store);
        let recovered = found(&dir);
        assert_eq!(indexes(&recovered), [(1, 1), (2, 1), (3, 1), (4, 3)]);
        assert_eq!(
            (recovered.hard_state.term, recovered.hard_state.vote, recovered.hard_state.commit),
            (3, 2, 3)
        );
    }

    #[test]
    fn a_snapshot_replaces_everything_and_the_log_goes_on_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(&dir).unwrap();
        store.load().unwrap();
        store.write(&[batch(entries(1..60, 1), 2)]).unwrap();
        let install = Some((Mark::at(50, 2), seal(b"state")));
        store.write(&[WriteBatch { install, ..batch(Vec::new(), 50) }]).unwrap();
        store.write(&[batch(entries(51..53, 3), 52)]).unwrap();
        drop(store);
        let recovered = found(&dir);
        assert_eq!((recovered.mark, recovered.snapshot.clone()), (Mark::at(50, 2), seal(b"state")));
        assert_eq!(indexes(&recovered), [(51, 3), (52, 3)]);

        // One that lies far ahead of the log, too.
        let mut store = open(&dir).unwrap();
        store.load().unwrap();
        let install = Some((Mark::at(900, 4), seal(b"later")));
        store.write(&[WriteBatch { install, ..batch(entries(901..902, 4), 900) }]).unwrap();
        drop(store);
        let recovered = found(&dir);
        assert_eq!((recovered.mark.snapshot_index, indexes(&recovered)), (900, vec![(901, 4)]));
    }

    #[test]
    fn compaction_is_found_again_and_older_snapshots_are_gone() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(&dir).unwrap();
        store.load().unwrap();
        store.write(&[batch(entries(1..20, 1), 19)]).unwrap();
        for index in [8, 12] {
            store.snapshots.save(index, &seal(b"state")).unwrap();
        }
        let mark = Mark { snapshot_index: 12, snapshot_term: 1, compacted_index: 10, compacted_term: 1 };
        store.write(&[WriteBatch { compact: Some(mark), ..WriteBatch::default() }]).unwrap();
        drop(store);
        let recovered = found(&dir);
        assert_eq!(recovered.mark, mark);
        assert_eq!(recovered.entries.first().map(|entry| entry.index), Some(11));
        assert_eq!(fs::read_dir(dir.path().join("snapshots")).unwrap().count(), 1);
    }

    #[test]
    fn a_torn_end_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(&dir).unwrap();
        store.load().unwrap();
        store.write(&[batch(entries(1..4, 1), 2)]).unwrap();
        let before = fs::read(log_file(&dir)).unwrap();
        store.write(&[batch(entries(4..9, 1), 3)]).unwrap();
        let path = log_file(&dir);
        let (mut bytes, begin) = last_write(&dir, &before);
        drop(store);
        // The crash came in the middle of the last write.
        bytes.truncate(begin + 100);
        fs::write(path, bytes).unwrap();
        assert_eq!(indexes(&found(&dir)), [(1, 1), (2, 1), (3, 1)]);
    }

    #[test]
    fn the_last_write_is_there_whole_or_not_at_all_wherever_it_was_torn_or_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(&dir).unwrap();
        store.load().unwrap();
        store.write(&[batch(entries(1..4, 1), 2)]).unwrap();
        let before = fs::read(log_file(&dir)).unwrap();
        store.write(&[batch(entries(4..6, 1), 3)]).unwrap();
        let path = log_file(&dir);
        let (whole, begin) = last_write(&dir, &before);
        drop(store);
        let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
        for position in begin..=end {
            let torn = whole[..position].to_vec();
            let mut flipped = whole.clone();
            flipped[position] ^= 1 << (position % 8);
            for (bytes, is_torn) in [(torn, true), (flipped, false)] {
                fs::write(&path, bytes).unwrap();
                match open(&dir).and_then(|mut store| store.load()) {
                    Ok(recovered) => {
                        let Recovered { entries: found, hard_state, .. } = recovered;
                        let is_there = found == entries(1..6, 1) && hard_state == state(3);
                        let is_gone = found == entries(1..4, 1) && hard_state == state(2);
                        assert!(
                            is_there || is_gone,
                            "byte {position} of {begin}..={end}: {hard_state:?}, {found:?}"
                        );
                    }
                    // What is torn is no damage: a crash does it.
                    Err(fatal) => assert!(!is_torn, "byte {position} of {begin}..={end}: {fatal}"),
                }
            }
        }
    }

    #[test]
    fn damage_before_the_end_is_refused_wherever_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(&dir).unwrap();
        store.load().unwrap();
        let before = fs::read(log_file(&dir)).unwrap();
        store.write(&[batch(entries(1..4, 1), 3)]).unwrap();
        let (bytes, begin) = last_write(&dir, &before);
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        store.write(&[batch(entries(4..9, 1), 8)]).unwrap();
        let path = log_file(&dir);
        drop(store);
        let whole = fs::read(&path).unwrap();
        for position in begin..=end {
            let mut damaged = whole.clone();
            damaged[position] ^= 0x10;
            fs::write(&path, damaged).unwrap();
            let opened = open(&dir).and_then(|mut store| store.load());
            // Some bits mean nothing; but nothing that was committed may be missing, or different.
            match opened {
                Ok(recovered) => {
                    assert_eq!(recovered.entries, entries(1..9, 1), "bit {position} of {begin}..{end}");
                    assert_eq!(recovered.hard_state, state(8), "bit {position} of {begin}..{end}");
                }
                Err(fatal) => assert!(fatal.to_string().contains("log"), "{fatal}"),
            }
        }
    }
}
