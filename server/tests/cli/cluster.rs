//! A cluster of three processes, as `tollgate dev` starts it, and the binary that asks it.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

/// Ports that `dev` uses, counted from the first one.
const PORTS: [u16; 9] = [0, 1, 2, 10, 11, 12, 20, 21, 22];

/// A running cluster; it ends with this value.
pub struct Cluster {
    dev: Child,
    directory: TempDir,
    base_port: u16,
    /// For `dev`, beside where it is.
    args: Vec<String>,
    printed: Arc<Mutex<String>>,
}

/// What the binary said.
#[derive(Debug)]
pub struct Answer {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Cluster {
    /// A fresh one, with the sample resources, once it can be used.
    pub fn start() -> Cluster {
        Cluster::start_in(TempDir::new().unwrap(), Vec::new())
    }

    /// One whose nodes have a preset of one's own.
    pub fn with_preset(text: &str) -> Cluster {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("preset.toml");
        fs::write(&path, text).unwrap();
        Cluster::start_in(directory, vec!["--preset-file".to_owned(), path.to_str().unwrap().to_owned()])
    }

    fn start_in(directory: TempDir, args: Vec<String>) -> Cluster {
        let base_port = free_base_port();
        let (dev, printed) = dev(directory.path(), base_port, &args);
        let cluster = Cluster { dev, directory, base_port, args, printed };
        cluster.wait_for("Ctrl-C stops the cluster");
        cluster
    }

    /// Runs the binary against this cluster.
    pub fn tollgate(&self, args: &[&str]) -> Answer {
        answer(self.command(args))
    }

    /// The binary, about to be run against this cluster.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = tollgate();
        command.args(args).env("TOLLGATE_NODES", self.nodes()).args(timeout(args));
        command
    }

    /// What `TOLLGATE_NODES` must be to reach it.
    pub fn nodes(&self) -> String {
        [0, 10, 20].map(|offset| format!("127.0.0.1:{}", self.base_port + offset)).join(",")
    }

    /// Where its nodes serve metrics.
    pub fn http_addresses(&self) -> [String; 3] {
        [2, 12, 22].map(|offset| format!("127.0.0.1:{}", self.base_port + offset))
    }

    /// Creates resources.
    pub fn define(&self, toml: &str) {
        let file = self.file("define.toml", toml);
        let answer = self.tollgate(&["resource", "apply", "-f", file.to_str().unwrap()]);
        assert_eq!(answer.code, Some(0), "{answer:?}");
    }

    /// A file in the cluster's directory.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// The process of a node, as `dev` printed it.
    pub fn process(&self, node: u64) -> Pid {
        let printed = self.printed.lock().unwrap().clone();
        let mut fields = printed
            .lines()
            .map(str::split_whitespace)
            .find_map(|mut fields| (fields.next() == Some(&node.to_string())).then_some(fields));
        Pid::from_raw(fields.as_mut().unwrap().next().unwrap().parse().unwrap())
    }

    /// Waits until `dev` has printed something.
    pub fn wait_for(&self, text: &str) {
        eventually(text, || self.printed.lock().unwrap().contains(text));
    }

    /// Stops it and starts it again, on the same data.
    pub fn restart(&mut self) {
        self.stop();
        let (dev, printed) = dev(self.directory.path(), self.base_port, &self.args);
        (self.dev, self.printed) = (dev, printed);
        self.wait_for("Ctrl-C stops the cluster");
    }

    /// Stops it; its data stays until this value goes.
    pub fn stop(&mut self) {
        if self.dev.try_wait().unwrap().is_none() {
            kill(Pid::from_raw(self.dev.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
            self.dev.wait().unwrap();
        }
    }

    pub fn base_port(&self) -> u16 {
        self.base_port
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Fails unless it ended like this, with this in what it said.
    #[track_caller]
    pub fn expect(self, code: i32, said: &str) -> Answer {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.stdout.contains(said) || self.stderr.contains(said), "no {said:?} in {self:?}");
        self
    }
}

/// Runs it to its end.
pub fn answer(mut command: Command) -> Answer {
    let output = command.output().unwrap();
    Answer {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The binary, without the settings of whoever runs the tests.
pub fn tollgate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    let settings = std::env::vars_os().map(|(name, _)| name);
    settings.filter(|name| name.to_string_lossy().starts_with("TOLLGATE_")).for_each(|name| {
        command.env_remove(name);
    });
    command
}

/// Polls until something is so; the patience is for machines with much else to do.
#[allow(clippy::disallowed_methods, reason = "the patience of a test is not part of Tollgate's time")]
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !so() {
        assert!(since.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A first port whose others are free, too. Somebody may take one before the nodes do; then `dev` says so.
pub fn free_base_port() -> u16 {
    let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
    loop {
        let base = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if base < 65_000 && PORTS.iter().all(|offset| free(base + offset)) {
            return base;
        }
    }
}

/// Patience for loaded machines, unless a test sets it.
fn timeout(args: &[&str]) -> &'static [&'static str] {
    if args.contains(&"--") || args.contains(&"--timeout") { &[] } else { &["--timeout", "30s"] }
}

fn dev(directory: &Path, base_port: u16, args: &[String]) -> (Child, Arc<Mutex<String>>) {
    let mut dev = tollgate()
        .args(["dev", "--base-port", &base_port.to_string(), "--data-dir"])
        .arg(directory.join("data"))
        .args(args)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let printed = collect(dev.stdout.take().unwrap());
    (dev, printed)
}

fn collect(output: impl std::io::Read + Send + 'static) -> Arc<Mutex<String>> {
    let printed = Arc::new(Mutex::new(String::new()));
    let to = Arc::clone(&printed);
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let mut to = to.lock().unwrap();
            to.push_str(&line);
            to.push('\n');
        }
    });
    printed
}
