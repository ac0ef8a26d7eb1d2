//! What a durable write costs: the log beside the least that any log could do, which is to write the same bytes into a file that was
//! filled with zeros before, and to sync them. Prints a row of `docs/PERFORMANCE.md`.

use std::{fs::File, io::Write, os::unix::fs::FileExt, path::Path};

use protobuf::Message;
use raft::eraftpb::{Entry, HardState};
use tollgate_limiter::Span;
use tollgate_server::{
    clock,
    storage::{
        LogStore, Mark, WriteBatch,
        engine::EngineStore,
        snapshot_file::{SnapshotFiles, seal},
    },
};

/// An entry of 32 commands, as a leader under load packs them.
const ENTRY_BYTES: usize = 3_000;

/// As many as fit into the plain file.
const WRITES: u64 = 500;
const ROUNDS: usize = 8;
const PLAIN_BYTES: usize = 2 * ENTRY_BYTES * WRITES as usize;

/// Enough for the log to free its first files, and to write into them again.
const FREED_AFTER: u64 = 20_000;

const ENTRIES_OF_A_FILE: u64 = 3_000;

fn main() {
    println!("| case | the log | a plain file | log by file, median (least to greatest) |");
    println!("|---|---|---|---|");
    let (dir, mut log) = (Dir::new(), 0);
    let mut engine = dir.open();
    compare("into new files", &dir, &mut engine, &mut log);
    fill(&mut engine, &mut log, FREED_AFTER);
    engine.write(&[compacted(log)]).expect("the disk takes it");
    // The file that is written just then is a new one.
    fill(&mut engine, &mut log, FREED_AFTER + ENTRIES_OF_A_FILE);
    compare("into files that were used before", &dir, &mut engine, &mut log);
    drop(engine);
    let opened = clock::monotonic();
    let found = dir.open().load().expect("its own log").entries.len();
    let millis = clock::monotonic().saturating_sub(opened).0 as f64 / 1e6;
    println!("| read {found} entries at a start | {millis:.0} ms | | |");
}

/// Where a log and plain files are, on the disk that is to be measured.
struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Dir {
        Dir(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory on the disk"))
    }

    fn open(&self) -> EngineStore {
        let path = self.0.path();
        let snapshots = SnapshotFiles::new(path.join("snapshots")).expect("a directory for snapshots");
        snapshots.save(FREED_AFTER, &seal(&[])).expect("the disk takes it");
        let mut engine = EngineStore::open(&path.join("log"), snapshots).expect("a log");
        engine.load().expect("a log that can be read");
        engine
    }
}

fn fill(engine: &mut EngineStore, log: &mut u64, until: u64) {
    for index in *log + 1..=until {
        engine.write(&[batch(index)]).expect("the disk takes it");
    }
    *log = until;
}

/// Writes behind entry `log` and into a plain file in turn, and prints a row.
fn compare(case: &str, dir: &Dir, engine: &mut EngineStore, log: &mut u64) {
    let (mut logs, mut plains, mut quotients) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let plain = plain(dir.0.path());
        let written = median((0..WRITES).map(|_| {
            *log += 1;
            let batch = batch(*log);
            timed(|| engine.write(&[batch]).expect("the disk takes it"))
        }));
        let [written, plain] = [written, plain].map(|Span(nanos)| nanos as f64 / 1e3);
        quotients.push(written / plain);
        logs.push(written);
        plains.push(plain);
    }
    let [written, plain, quotient] = [&mut logs, &mut plains, &mut quotients].map(|values| middle(values));
    println!(
        "| write and sync an entry of {ENTRY_BYTES} bytes {case}, p50 | {written:.0} µs | {plain:.0} µs | {quotient:.2} ({:.2} to {:.2}) |",
        quotients[0],
        quotients[ROUNDS - 1],
    );
}

/// What is written when a snapshot contains all up to there.
fn compacted(index: u64) -> WriteBatch {
    let mark =
        Mark { snapshot_index: FREED_AFTER, snapshot_term: 1, compacted_index: index, compacted_term: 1 };
    WriteBatch { number: index, compact: Some(mark), ..WriteBatch::default() }
}

fn batch(index: u64) -> WriteBatch {
    let data = vec![index as u8; ENTRY_BYTES].into();
    let entry = Entry { index, term: 1, data, ..Entry::default() };
    let hard_state = Some(HardState { term: 1, vote: 1, commit: index - 1, ..HardState::default() });
    WriteBatch { number: index, entries: vec![entry], hard_state, ..WriteBatch::default() }
}

/// The median of as many writes into a file of its own, whose blocks are there already.
fn plain(dir: &Path) -> Span {
    let mut file = File::create(dir.join("plain")).expect("a new file");
    file.write_all(&vec![0; PLAIN_BYTES]).and_then(|()| file.sync_all()).expect("the disk takes it");
    let mut at = 0;
    median((1..=WRITES).map(|index| {
        timed(|| {
            let bytes = batch(index).entries[0].write_to_bytes().expect("an entry can be encoded");
            file.write_all_at(&bytes, at).and_then(|()| file.sync_data()).expect("the disk takes it");
            at += bytes.len() as u64;
        })
    }))
}

fn timed(work: impl FnOnce()) -> Span {
    let began = clock::monotonic();
    work();
    clock::monotonic().saturating_sub(began)
}

fn median(times: impl Iterator<Item = Span>) -> Span {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    times[times.len() / 2]
}

fn middle(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
