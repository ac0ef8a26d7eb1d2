//! Why nothing, or no more, can be measured.

use std::io;

/// The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The arguments make no sense together.
    #[error("{0}")]
    Usage(String),
    /// The cluster refused what the measurement needs.
    #[error(transparent)]
    Cluster(#[from] tollgate_client::Error),
    /// A node cannot be reached at the address that the cluster gives for it.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// `host:port`.
        address: String,
        /// Why.
        source: tonic::transport::Error,
    },
    /// The cluster has no such nodes now.
    #[error("{0}")]
    Target(String),
    /// The floor could not be started.
    #[error("the floor cannot be started: {0}")]
    Floor(#[from] io::Error),
    /// A side does not answer any more.
    #[error("{side}: calls were not answered within {seconds} s")]
    Stuck {
        /// Which.
        side: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The cluster does not do what is to be measured.
    #[error("the cluster answers otherwise than this measurement needs: {0}")]
    Unexpected(String),
    /// Signals cannot be listened for, so that resources might be left behind.
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
    /// Somebody pressed Ctrl-C, or sent SIGTERM.
    #[error("interrupted; nothing is reported")]
    Interrupted,
}
