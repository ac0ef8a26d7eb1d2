//! One server as a process, for tests that look at it from outside: what it holds in memory, whom it serves.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tollgate_client::{Client, Error, v1};

use crate::{
    cluster::{PATIENCE, free_port},
    torture::{binary, process::Process},
};

/// A cluster of one. It ends with this value.
pub struct Single {
    process: Process,
    /// Where clients reach it.
    pub client_address: String,
    /// Where other nodes would reach it.
    pub peer_address: String,
    /// Where it is watched.
    pub http_address: String,
    directory: TempDir,
}

impl Single {
    /// A fresh one, once it answers.
    pub async fn start() -> Single {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let [client, peer, http] = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
        let mut command = Command::new(binary::server().expect("a server to test"));
        command.args(["server", "--node-id", "1"]).arg("--data-dir").arg(directory.path().join("data"));
        command.args(["--listen-client", &client, "--listen-peer", &peer, "--listen-http", &http]);
        command.args(["--member", &format!("id=1,peer={peer},client={client},http={http}")]);
        let log = fs::File::create(directory.path().join("log")).expect("a file in our own directory");
        command.stdout(log.try_clone().expect("one more file")).stderr(log);
        let process = Process::start(&mut command).expect("the server can be run");
        let single =
            Single { process, client_address: client, peer_address: peer, http_address: http, directory };
        let answers = async {
            while single.client().cluster().get().await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, answers).await.expect("the server answers at last");
        single
    }

    /// A client of it, with connections of its own.
    pub fn client(&self) -> Client {
        Client::connect([&self.client_address]).expect("an address of ours")
    }

    /// Defines a resource.
    pub async fn define(&self, resource: v1::Resource) {
        self.client().resources().create(resource).await.expect("a good resource");
    }

    /// Whether it serves somebody else, while others do what they do.
    pub async fn serves(&self, resource: &str) -> Result<(), Error> {
        self.client().acquire(resource).deadline(PATIENCE).await?.detach();
        Ok(())
    }

    /// Mebibytes that it has in memory now.
    pub fn resident_mib(&self) -> u64 {
        self.process.resident_bytes().expect("Linux tells") >> 20
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// What it says for people.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).expect("a file that it writes")
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }
}
