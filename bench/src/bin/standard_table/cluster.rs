//! Three fresh nodes, as `tollgate dev` starts them.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

/// What `dev` prints when its nodes serve.
const SERVES: &str = "Ctrl-C stops the cluster";

/// Looks at whether `dev` has ended, one after the other: longer than it gives its nodes.
const STOP_LOOKS: u32 = 300;
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The nodes; they are stopped with this value.
pub struct Cluster {
    pub tollgate: PathBuf,
    pub data_dir: PathBuf,
    pub base_port: u16,
    dev: Child,
    // Were it closed, `dev` could not print any more.
    _printed: Lines<BufReader<ChildStdout>>,
}

impl Cluster {
    /// `snapshot_log` is the length of log after which its nodes take a snapshot.
    pub async fn start(
        tollgate: &Path,
        data_dir: &Path,
        base_port: u16,
        snapshot_log: &str,
    ) -> Result<Cluster, Box<dyn Error>> {
        let mut command = Command::new(tollgate);
        command.env("TOLLGATE_SNAPSHOT_LOG", snapshot_log);
        command.args(["dev", "--fresh", "--base-port", &base_port.to_string(), "--data-dir"]).arg(data_dir);
        let failed = |error: io::Error| format!("cannot run {}: {error}", tollgate.display());
        let mut dev = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
        let stdout = dev.stdout.take().ok_or("the output of `tollgate dev` cannot be read")?;
        let mut printed = BufReader::new(stdout).lines();
        while let Some(line) = printed.next_line().await? {
            if line.contains(SERVES) {
                let (tollgate, data_dir) = (tollgate.to_owned(), data_dir.to_owned());
                return Ok(Cluster { tollgate, data_dir, base_port, dev, _printed: printed });
            }
        }
        Err("`tollgate dev` ended before its nodes served".into())
    }

    /// The snapshots that the first node has now: files that are named by the entry up to which they reach.
    pub fn snapshots(&self) -> io::Result<Vec<PathBuf>> {
        let files = fs::read_dir(self.data_dir.join("node-1/snapshots"))?;
        files.map(|file| file.map(|file| file.path())).collect()
    }

    /// As `--nodes` takes them.
    pub fn nodes(&self) -> String {
        [0, 10, 20].map(|offset| format!("127.0.0.1:{}", self.base_port + offset)).join(",")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let Some(id) = self.dev.id() else { return };
        // On SIGTERM `dev` stops its nodes in order; where it cannot be told, they stay, and the next run says so.
        let _ = std::process::Command::new("kill").arg(id.to_string()).status();
        for _ in 0..STOP_LOOKS {
            if !matches!(self.dev.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}
