//! The two forms of an answer.

use std::{
    io::{self, Write},
    time::Duration,
};

use serde_json::Value;

use super::Failure;

/// The form of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Human,
    /// One JSON document. Its field names are stable; durations are in seconds, with fractions.
    Json,
}

impl Output {
    /// Prints the answer in one of its forms; only that one is made.
    pub fn print(self, human: impl FnOnce() -> String, json: impl FnOnce() -> Value) -> Result<(), Failure> {
        let text = match self {
            Output::Human => human(),
            Output::Json => format!("{:#}", json()),
        };
        print(&text)
    }
}

/// Prints lines. A reader that has seen enough (`| head`) is no failure.
pub fn print(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout().lock(), "{}", text.trim_end_matches('\n')) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// A duration in JSON: seconds.
pub fn seconds(duration: Duration) -> Value {
    Value::from(duration.as_secs_f64())
}

/// A wire's duration in JSON: seconds; null when absent.
pub fn wire_seconds(duration: Option<prost_types::Duration>) -> Value {
    duration.map_or(Value::Null, |duration| seconds(super::duration::from_wire(duration)))
}
