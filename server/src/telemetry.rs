//! The log: events of `tracing` as lines on standard error, for people or as JSON.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, filter::ParseError, util::TryInitError};
use tracing_subscriber::{fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{Log, LogFormat};

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not valid (a checked configuration's is).
    #[error("the log filter is not valid: {0}")]
    Filter(#[from] ParseError),
    /// Somebody else has set the process' log up.
    #[error("the log is set up already: {0}")]
    Twice(#[from] TryInitError),
}

/// Sets the log of this process up. Call it once, before anything is worth logging.
pub fn init(log: &Log) -> Result<(), TelemetryError> {
    let registry = tracing_subscriber::registry().with(EnvFilter::try_new(&log.filter)?);
    let lines = fmt::layer().with_writer(io::stderr);
    match log.format {
        LogFormat::Human => registry.with(lines.with_ansi(io::stderr().is_terminal())).try_init()?,
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init()?,
    }
    Ok(())
}
