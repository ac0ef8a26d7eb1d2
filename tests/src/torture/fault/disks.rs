//! Disks: full, failing, slow, damaged, empty.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use tokio::time::sleep;
use tollgate_server::raft::members::NodeId;

use super::{Scene, Struck};
use crate::torture::{
    binary,
    cluster::{self, PATIENCE, SMALL_DISK_SEAT},
    process::Process,
};

/// Also told when strace ends too early: on a busy machine it may take a while to be refused.
const CANNOT_ATTACH: &str = "strace may not attach to processes here";

/// Bytes of zeros that may be the end of the last whole write: each ends with a checksum of 32 bits.
const CHECKSUM_BYTES: usize = 4;

pub async fn fill(scene: &mut Scene<'_>) -> Result<Struck, String> {
    if let Err(why) = &scene.cluster.small_disk {
        return Ok(Struck::Skipped(format!("no small disk: {why}")));
    }
    let full = scene.cluster.nodes.iter().find(|(_, node)| node.seat == SMALL_DISK_SEAT).map(|(id, _)| *id);
    let full = full.ok_or("nobody sits at the small disk")?;
    let ballast = scene.cluster.seats[SMALL_DISK_SEAT].directory.join("ballast");
    write_until_full(&ballast).map_err(|error| error.to_string())?;
    scene.last(2.0..6.0).await;
    fs::remove_file(ballast).map_err(|error| error.to_string())?;
    // A write that failed ends the node, as any other failed write; whoever supervises it starts it again.
    if scene.cluster.process(full).ended().is_some() {
        scene.cluster.launch(full).map_err(|error| error.to_string())?;
    }
    Ok(Struck::Over)
}

fn write_until_full(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    loop {
        match file.write_all(&[0; 1 << 16]) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

pub async fn fail_fsync(scene: &mut Scene<'_>) -> Result<Struck, String> {
    let victim = any(scene);
    let mut strace = match inject(scene, victim, "error=EIO").await {
        Ok(strace) => strace,
        Err(cannot) => return Ok(Struck::Skipped(cannot)),
    };
    let ended = scene.cluster.process(victim).ends_within(PATIENCE).await;
    if ended.is_none() && strace.ended().is_some() {
        return Ok(Struck::Skipped(CANNOT_ATTACH.to_owned()));
    }
    detach(&mut strace).await;
    match ended {
        Some(status) if !status.success() => {}
        other => return Err(format!("node {victim} went on after a failed fsync: {other:?}")),
    }
    scene.cluster.launch(victim).map_err(|error| error.to_string())?;
    Ok(Struck::Over)
}

pub async fn slow_fsync(scene: &mut Scene<'_>) -> Result<Struck, String> {
    let victim = any(scene);
    let millis = scene.rng.random_range(20..500);
    let mut strace = match inject(scene, victim, &format!("delay_enter={}", millis * 1_000)).await {
        Ok(strace) => strace,
        Err(cannot) => return Ok(Struck::Skipped(cannot)),
    };
    scene.last(2.0..5.0).await;
    if strace.ended().is_some() {
        return Ok(Struck::Skipped(CANNOT_ATTACH.to_owned()));
    }
    detach(&mut strace).await;
    Ok(Struck::Over)
}

/// Makes a node's fsyncs fail or wait, for as long as the process that this returns lives.
async fn inject(scene: &mut Scene<'_>, victim: NodeId, how: &str) -> Result<Process, String> {
    let strace = binary::tool("strace").ok_or("there is no strace")?;
    let process = scene.cluster.process(victim).pid().to_string();
    let mut command = Command::new(strace);
    command.args(["-f", "-qq", "-o", "/dev/null", "-p", &process, "-e", "trace=fsync,fdatasync"]);
    command.args(["-e", &format!("inject=fsync,fdatasync:{how}")]).stderr(Stdio::null());
    let mut strace = Process::start(&mut command).map_err(|error| error.to_string())?;
    match strace.ends_within(Duration::from_millis(300)).await {
        // It also ends when the node does.
        Some(_) if scene.cluster.process(victim).ended().is_none() => Err(CANNOT_ATTACH.to_owned()),
        _ => Ok(strace),
    }
}

async fn detach(strace: &mut Process) {
    strace.signal(Signal::SIGINT);
    // Killed otherwise, when it is dropped: its threads then go on without it.
    strace.ends_within(Duration::from_secs(5)).await;
}

pub async fn damage_log(scene: &mut Scene<'_>) -> Result<Struck, String> {
    let refused =
        damage(scene, "log", |name| name.ends_with(".raftlog"), |bytes, rng| flip_a_bit(bytes, rng)).await?;
    replace_refused(scene, refused).await
}

pub async fn damage_snapshot(scene: &mut Scene<'_>) -> Result<Struck, String> {
    let refused =
        damage(scene, "snapshots", |name| name.ends_with(".snapshot"), |bytes, rng| flip_a_bit(bytes, rng))
            .await?;
    replace_refused(scene, refused).await
}

/// A crash tears a write at any time, so a node comes back from that by itself.
pub async fn tear_log(scene: &mut Scene<'_>) -> Result<Struck, String> {
    match damage(scene, "log", |name| name.ends_with(".raftlog"), tear).await? {
        Return::Refused(id, status) => {
            Err(format!("node {id} refuses a log whose last write is torn: {status}"))
        }
        Return::Whole => Ok(Struck::Over),
        Return::Unharmed(why) => Ok(Struck::Skipped(why)),
    }
}

/// How a node comes back whose files were damaged.
enum Return {
    /// With all that it had.
    Whole,
    /// It says that it cannot, and has ended.
    Refused(NodeId, ExitStatus),
    /// There was nothing to damage; why.
    Unharmed(String),
}

/// Damages a file of a node while it is down.
async fn damage(
    scene: &mut Scene<'_>,
    below: &str,
    is_it: fn(&str) -> bool,
    how: fn(&mut Vec<u8>, &mut StdRng),
) -> Result<Return, String> {
    let victim = any(scene);
    let directory = scene.cluster.seat_of(victim).directory.join(below);
    scene.cluster.process(victim).kill();
    let mut files = files(&directory).map_err(|error| error.to_string())?;
    files.retain(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_it));
    let damaged = files.iter().max().map(|path| {
        let mut bytes = fs::read(path)?;
        how(&mut bytes, scene.rng);
        fs::write(path, bytes)
    });
    if let Some(damaged) = damaged {
        damaged.map_err(|error| error.to_string())?;
    }
    scene.cluster.launch(victim).map_err(|error| error.to_string())?;
    if files.is_empty() {
        return Ok(Return::Unharmed(format!("nothing in {below} yet")));
    }
    let refused = scene.cluster.settle().await?;
    Ok(refused.map_or(Return::Whole, |(id, status)| Return::Refused(id, status)))
}

/// Who cannot come back is replaced, as `docs/OPERATIONS.md` says.
async fn replace_refused(scene: &mut Scene<'_>, back: Return) -> Result<Struck, String> {
    match back {
        Return::Whole => Ok(Struck::Over),
        Return::Unharmed(why) => Ok(Struck::Skipped(why)),
        Return::Refused(id, _) => scene.cluster.replace(id).await.map(|_| Struck::Over),
    }
}

fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect()
}

/// Somewhere where something was written.
fn flip_a_bit(bytes: &mut [u8], rng: &mut StdRng) {
    let end = written(bytes).saturating_sub(1);
    if let Some(byte) = bytes.get_mut(rng.random_range(0..=end)) {
        *byte ^= 1 << rng.random_range(0..8);
    }
}

/// The write that was under way when the power failed has left something, and not all of it. It was never acknowledged;
/// what was acknowledged is left as it is, zeros at its end included.
fn tear(bytes: &mut Vec<u8>, rng: &mut StdRng) {
    let torn: Vec<u8> = (0..rng.random_range(1..200)).map(|_| rng.random()).collect();
    bytes.truncate(written(bytes) + CHECKSUM_BYTES);
    bytes.extend(torn);
}

/// How many bytes there are without the zeros at the end: space that is allocated in advance.
fn written(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

pub async fn wipe(scene: &mut Scene<'_>) -> Result<Struck, String> {
    let victim = any(scene);
    scene.cluster.process(victim).kill();
    cluster::wipe(&scene.cluster.seat_of(victim).directory).map_err(|error| error.to_string())?;
    scene.cluster.launch(victim).map_err(|error| error.to_string())?;
    match scene.cluster.process(victim).ends_within(PATIENCE).await {
        Some(status) if !status.success() => {}
        other => return Err(format!("node {victim} lost its disk, and is not refused: {other:?}")),
    }
    sleep(Duration::from_millis(scene.rng.random_range(0..1_000))).await;
    scene.cluster.replace(victim).await?;
    Ok(Struck::Over)
}

fn any(scene: &mut Scene<'_>) -> NodeId {
    *scene.cluster.ids().choose(scene.rng).expect("there are always nodes")
}
