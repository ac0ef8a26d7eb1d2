//! What ends at once, with a message that says what to do.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Stdio},
};

use crate::cluster::{answer, eventually, free_base_port, tollgate};

/// `tollgate server` for a cluster of one.
fn server(data_dir: &Path, base_port: u16) -> std::process::Command {
    let [client, peer, http] = [0, 1, 2].map(|offset| format!("127.0.0.1:{}", base_port + offset));
    let mut command = tollgate();
    command.arg("server").args(["--node-id", "1", "--data-dir"]).arg(data_dir);
    command.args(["--listen-client", &client, "--listen-peer", &peer, "--listen-http", &http]);
    command.args(["--member", &format!("id=1,peer={peer},client={client},http={http}")]);
    command
}

/// A process that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_port_in_use_is_named() {
    let directory = tempfile::TempDir::new().unwrap();
    let base_port = free_base_port();
    let _taken = TcpListener::bind(("127.0.0.1", base_port)).unwrap();
    answer(server(directory.path(), base_port)).expect(1, &base_port.to_string()).expect(1, "client");
}

#[test]
fn a_data_directory_that_cannot_be_used_is_named() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let below_a_file = file.join("data");
    answer(server(&below_a_file, free_base_port())).expect(1, below_a_file.to_str().unwrap());
}

#[test]
fn one_data_directory_serves_one_process() {
    let directory = tempfile::TempDir::new().unwrap();
    let base_port = free_base_port();
    let first = server(directory.path(), base_port).stderr(Stdio::null()).spawn().unwrap();
    let _first = Running(first);
    let nodes = format!("127.0.0.1:{base_port}");
    eventually("the first one leads", || {
        let status = ["cluster", "status", "--output", "json", "--timeout", "1s", "--nodes", &nodes];
        let mut command = tollgate();
        command.args(status);
        let answer = answer(command);
        answer.code == Some(0) && answer.json()["leader_id"] == 1
    });
    answer(server(directory.path(), free_base_port())).expect(1, directory.path().to_str().unwrap());
    assert!(only_the_owner_can_read(directory.path()) > 1);
}

/// Fails if others can read a file below this directory; gives the number of files.
fn only_the_owner_can_read(directory: &Path) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let metadata = entry.metadata().unwrap();
        let mode = metadata.permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", entry.path().display());
        files += if metadata.is_dir() { only_the_owner_can_read(&entry.path()) } else { 1 };
    }
    files
}

#[test]
fn a_disk_without_room_is_told_by_readiness_and_to_those_who_ask() {
    let directory = tempfile::TempDir::new().unwrap();
    let base_port = free_base_port();
    let mut node = server(directory.path(), base_port);
    // More than any disk has.
    node.args(["--disk-reserve", "4000000000GiB"]).stderr(Stdio::null());
    let _node = Running(node.spawn().unwrap());
    let http = format!("127.0.0.1:{}", base_port + 2);
    let get = |path: &str| {
        let mut told = String::new();
        if let Ok(mut connection) = TcpStream::connect(&http) {
            write!(connection, "GET {path} HTTP/1.1\r\nHost: tollgate\r\nConnection: close\r\n\r\n").unwrap();
            connection.read_to_string(&mut told).unwrap();
        }
        told
    };
    eventually("its readiness speaks of the disk", || {
        let told = get("/readyz");
        told.starts_with("HTTP/1.1 503") && told.contains("storage.disk_reserve")
    });
    eventually("its metrics tell it", || {
        let told = get("/metrics");
        told.contains("tollgate_disk_is_low 1\n") && told.contains("tollgate_ready 0\n")
    });
    let nodes = format!("127.0.0.1:{base_port}");
    eventually("the leader speaks of the disk", || {
        let mut command = tollgate();
        command.args(["acquire", "r", "--timeout", "1s", "--nodes", &nodes]);
        let answer = answer(command).expect(4, "");
        answer.stderr.contains("storage.disk_reserve") && answer.stderr.contains("Make room")
    });
}

#[test]
fn all_faults_of_a_configuration_are_told_at_once() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("node.toml");
    let text = "[node]\nid = 0\ndata_dri = \"x\"\n[listen]\nclient = \"nowhere\"\n";
    fs::write(&path, text).unwrap();
    let mut command = tollgate();
    command.args(["server", "--config"]).arg(&path);
    answer(command)
        .expect(2, "data_dri")
        .expect(2, "data_dir")
        .expect(2, "listen.client")
        .expect(2, "node.id");
}

#[test]
fn flags_count_more_than_the_environment_and_that_more_than_the_file() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("node.toml");
    let text = "[node]\nid = 1\n[cluster]\nmembers = [{ id = 1, peer = \"127.0.0.1:1\", client = \"127.0.0.1:2\" }]\n";
    fs::write(&path, text).unwrap();
    let with_two_faults = |args: &[&str]| {
        let mut command = tollgate();
        command.arg("server").args(args).env("TOLLGATE_CONFIG", &path).env("TOLLGATE_NODE_ID", "8");
        answer(command).expect(2, "data_dir")
    };
    with_two_faults(&[]).expect(2, "(id 8) is not among the members");
    with_two_faults(&["--node-id", "9"]).expect(2, "(id 9) is not among the members");
}

#[test]
fn a_cluster_that_is_not_there_is_unavailable() {
    let nodes = format!("127.0.0.1:{}", free_base_port());
    let mut command = tollgate();
    command.args(["acquire", "r", "--timeout", "200ms", "--nodes", &nodes]);
    answer(command).expect(4, &nodes).expect(4, "TOLLGATE_NODES");
}

#[test]
fn a_command_line_that_is_not_valid_is_refused() {
    for (args, said) in [
        (&["acquire"][..], "RESOURCE"),
        (&["acquire", "r", "--lease", "soon"], "--lease"),
        (&["acquire", "r", "--amount", "tokens"], "--amount"),
        (&["acquire", "r", "--nodes", "nowhere"], "nowhere"),
        (&["acquire", "r", "--timeout", "0s"], "--timeout"),
        (&["resource", "list", "--output", "xml"], "json"),
        (&["no-such-command"], "no-such-command"),
    ] {
        let mut command = tollgate();
        command.args(args);
        answer(command).expect(2, said);
    }
}

#[test]
fn completions_are_for_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let mut command = tollgate();
        command.args(["completions", shell]);
        answer(command).expect(0, "tollgate");
    }
}
