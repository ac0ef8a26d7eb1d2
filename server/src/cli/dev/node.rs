//! The three processes, and the files that they leave.

use std::{
    env,
    ffi::OsStr,
    fs, io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::Stdio,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::process::{Child, Command};

use super::Failure;
use crate::raft::members::NodeId;

/// Ports between the first ones of two nodes.
const PORTS_PER_NODE: u16 = 10;

/// What the environment may say for all three alike. The rest is of one node, and is in its file.
const SHARED_SETTINGS: [&str; 5] = [
    "TOLLGATE_LOG",
    "TOLLGATE_ELECTION_TIMEOUT",
    "TOLLGATE_SNAPSHOT_LOG",
    "TOLLGATE_DISK_RESERVE",
    "TOLLGATE_PRESETS",
];

/// Lines of a log that are shown when its node could not start.
const TAIL_LINES: usize = 12;

/// Where the nodes and their files are.
pub struct Layout {
    pub directory: PathBuf,
    pub base_port: u16,
    /// One's own, for all nodes. No part of the configuration, so that the next run on the same data may have others.
    pub presets: Vec<PathBuf>,
}

impl Layout {
    pub fn ids(&self) -> RangeInclusive<NodeId> {
        1..=3
    }

    pub fn client_address(&self, id: NodeId) -> String {
        self.address(id, 0)
    }

    pub fn http_address(&self, id: NodeId) -> String {
        self.address(id, 2)
    }

    pub fn configuration(&self, id: NodeId) -> PathBuf {
        self.directory.join(format!("node-{id}.toml"))
    }

    pub fn data(&self, id: NodeId) -> PathBuf {
        self.directory.join(format!("node-{id}"))
    }

    pub fn log(&self, id: NodeId) -> PathBuf {
        self.directory.join(format!("node-{id}.log"))
    }

    pub fn restart_command(&self, id: NodeId) -> String {
        let presets = self.presets.iter().map(|path| format!(" --presets {}", path.display()));
        let presets = presets.collect::<String>();
        format!("{} server --config {}{presets}", program(), self.configuration(id).display())
    }

    pub fn configuration_text(&self, id: NodeId) -> String {
        let members: String = self
            .ids()
            .map(|id| {
                let [client, peer, http] = [0, 1, 2].map(|offset| self.address(id, offset));
                format!("    {{ id = {id}, client = \"{client}\", peer = \"{peer}\", http = \"{http}\" }},\n")
            })
            .collect();
        let [client, peer, http] = [0, 1, 2].map(|offset| self.address(id, offset));
        let data_dir = toml::Value::from(self.data(id).to_string_lossy().into_owned());
        format!(
            "# Written by `tollgate dev`.\n\n[node]\nid = {id}\ndata_dir = {data_dir}\n\n[listen]\nclient = \"{client}\"\n\
             peer = \"{peer}\"\nhttp = \"{http}\"\n\n[cluster]\nname = \"dev\"\nmembers = [\n{members}]\n"
        )
    }

    /// Deletes what an earlier run left, and nothing else that may be in the directory.
    pub fn remove(&self) -> io::Result<()> {
        for id in self.ids() {
            absent_is_fine(fs::remove_dir_all(self.data(id)))?;
            absent_is_fine(fs::remove_file(self.configuration(id)))?;
            absent_is_fine(fs::remove_file(self.log(id)))?;
        }
        Ok(())
    }

    /// The last lines of a node's log.
    pub fn log_tail(&self, id: NodeId) -> String {
        let log = fs::read_to_string(self.log(id)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// No overflow: the base is at most 65,513.
    fn address(&self, id: NodeId, offset: u16) -> String {
        format!("127.0.0.1:{}", self.base_port + PORTS_PER_NODE * (id as u16 - 1) + offset)
    }
}

/// One running node. Killed when it is dropped.
pub struct Node {
    pub id: NodeId,
    process: Child,
}

impl Node {
    /// Starts it in a process group of its own, so that Ctrl-C reaches `dev` alone, which stops all nodes in order.
    pub fn start(layout: &Layout, id: NodeId) -> Result<Node, Failure> {
        let failed = |error: io::Error| Failure::new(format!("cannot start node {id}: {error}"));
        let program = env::current_exe().map_err(failed)?;
        let log = open_log(&layout.log(id)).map_err(failed)?;
        let mut command = Command::new(program);
        command.args(["server", "--config"]).arg(layout.configuration(id));
        command.args(layout.presets.iter().flat_map(|path| [OsStr::new("--presets"), path.as_os_str()]));
        // Settings from the environment count more than the file.
        let inherited = env::vars_os().map(|(name, _)| name);
        let settings = inherited.filter(|name| name.to_str().is_some_and(is_setting_of_one_node));
        settings.for_each(|name| {
            command.env_remove(name);
        });
        let process = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        Ok(Node { id, process })
    }

    /// None once it has ended.
    pub fn process_id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        if let Some(id) = self.process_id().and_then(|id| i32::try_from(id).ok()) {
            // It may have ended just now.
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
    }

    /// Waits for its end, and says how it ended.
    pub async fn ended(&mut self) -> String {
        match self.process.wait().await {
            Ok(status) => format!("has ended ({status})"),
            Err(error) => format!("cannot be watched: {error}"),
        }
    }
}

/// The program as it was called, so that lines to paste work: it may not be in the search path.
pub fn program() -> String {
    env::args().next().unwrap_or_else(|| "tollgate".to_owned())
}

fn is_setting_of_one_node(name: &str) -> bool {
    name.starts_with("TOLLGATE_") && !SHARED_SETTINGS.iter().any(|shared| name.starts_with(shared))
}

fn open_log(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().create(true).append(true).open(path)
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}
