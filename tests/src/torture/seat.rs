//! A seat: the addresses and the directory of a node. Who sits there may change: a node that lost its disk is replaced by
//! one with a new id.

use std::path::PathBuf;

/// How many there are: three founders, and one for a member that comes and goes.
pub const SEATS: usize = 4;

/// How many nodes found the cluster.
pub const FOUNDERS: usize = 3;

/// One seat.
#[derive(Clone, Debug)]
pub struct Seat {
    /// Which: 0 to [`SEATS`] − 1.
    pub number: usize,
    /// Where clients reach it.
    pub client: String,
    /// Where it listens for the other nodes.
    pub peer: String,
    /// Where the other nodes are told that it is: what lies between can fail.
    pub peer_advertised: String,
    /// Where it can be watched.
    pub http: String,
    /// What it keeps.
    pub directory: PathBuf,
}

impl Seat {
    /// As a founding member, for the command line.
    pub fn member(&self, id: u64) -> String {
        let Seat { client, peer_advertised, http, .. } = self;
        format!("id={id},peer={peer_advertised},client={client},http={http}")
    }

    /// Where its node writes its log for people.
    pub fn log_path(&self) -> PathBuf {
        self.directory.with_extension("log")
    }
}
