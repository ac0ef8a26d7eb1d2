//! The examples of the Rust client, which the README shows, do what they say.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::cluster::{Cluster, answer};

/// Builds it, which `cargo test --workspace` has done already, but not a run of these tests alone.
fn example(name: &str) -> PathBuf {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--workspace", "--example", name]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    assert!(build.status().unwrap().success());
    Path::new(env!("CARGO_BIN_EXE_tollgate")).with_file_name("examples").join(name)
}

#[test]
fn examples_of_the_client_work() {
    let cluster = Cluster::start();
    for (name, said) in [
        ("acquire", "lets one call through"),
        ("call", "let one search through"),
        ("lease", "done, and still held: true"),
        ("waterfall", "call hubspot/acme, after waiting 0ns"),
        ("resources", "demo holds slot 0 of concurrent"),
    ] {
        let mut command = Command::new(example(name));
        command.env("TOLLGATE_NODES", cluster.nodes());
        answer(command).expect(0, said);
    }
}
