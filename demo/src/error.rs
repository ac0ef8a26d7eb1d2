//! Why there is nothing to show.

use std::io;

/// The message says what happened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster refused what the demonstration needs.
    #[error(transparent)]
    Cluster(#[from] tollgate_client::Error),
    /// The mock vendor cannot listen.
    #[error("the mock vendor cannot be started: {0}")]
    Vendor(#[from] io::Error),
    /// A worker met with what no worker can mend.
    #[error("a worker stopped: {0}")]
    Worker(String),
}
