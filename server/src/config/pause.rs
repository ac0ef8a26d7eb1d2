//! Spans of time as people write them: `500ms`, `2s`.

use std::{fmt, str::FromStr, time::Duration};

/// A span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pause(pub Duration);

impl Pause {
    /// So many milliseconds.
    pub const fn from_millis(millis: u64) -> Pause {
        Pause(Duration::from_millis(millis))
    }
}

/// What is no span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a duration such as 500ms or 2s")]
pub struct BadPause;

impl FromStr for Pause {
    type Err = BadPause;

    fn from_str(text: &str) -> Result<Pause, BadPause> {
        humantime::parse_duration(text).map(Pause).map_err(|_| BadPause)
    }
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}
