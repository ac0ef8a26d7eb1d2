//! Resources as files for people: what `tollgate resource apply` reads and `tollgate resource get --output toml` writes.
//!
//! ```toml
//! [[resource]]
//! name = "salesforce/acme"
//!
//! [[resource.limit]]
//! name = "daily"
//! kind = "sliding_window"
//! amount = 100_000
//! period = "24h"
//! ```
//!
//! The keys are the fields of `resource.proto`, with the parameters of the kind beside the limit's own; durations are
//! written `500ms`, `10s`, `24h`. `deploy/resources.example.toml` is the commented example.
//!
//! What calls cost that do not state it (`Resource.operation_costs`):
//!
//! ```toml
//! [[resource.operation_cost]]
//! operation = "list/*"
//! cost = 30
//! ```
//!
//! `circuit_breaker = true` is one with all defaults, and so is an empty table; `false` is none, though a preset has one.
//!
//! A resource may begin with what Tollgate knows about a vendor, and state only what differs: field by field, of limits by
//! their name. What is written by the server states everything.
//!
//! ```toml
//! [[resource]]
//! name = "salesforce/acme"
//! preset = "salesforce:enterprise"
//! parameters = { licences = 120 }
//!
//! [[resource.limit]]
//! name = "concurrent"
//! counts_after = "19500ms"
//! ```

mod budget;
pub(crate) mod limit;
mod read;
mod spread;
mod vendor;
mod write;

use std::fmt;

pub use read::{read, read_with};
pub use write::write;

use crate::toml_reader::Fault;

/// Everything that is wrong with a file, at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultyFile(pub Vec<Fault>);

impl fmt::Display for FaultyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the resources are not valid:")?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl std::error::Error for FaultyFile {}

/// The words for the kinds, scopes, anchors and weekdays: those of `resource.proto`, without its prefixes.
mod words {
    use tollgate_proto::v1::{Anchor, Scope, Weekday};

    /// Which message of `Limit.kind`.
    #[derive(Clone, Copy)]
    pub enum Kind {
        TokenBucket,
        LeakyBucket,
        FixedWindow,
        SlidingWindow,
        Concurrency,
    }

    pub const KINDS: [(&str, Kind); 5] = [
        ("token_bucket", Kind::TokenBucket),
        ("leaky_bucket", Kind::LeakyBucket),
        ("fixed_window", Kind::FixedWindow),
        ("sliding_window", Kind::SlidingWindow),
        ("concurrency", Kind::Concurrency),
    ];

    pub const SCOPES: [(&str, Scope); 4] = [
        ("resource", Scope::Resource),
        ("key", Scope::Key),
        ("consumer", Scope::Consumer),
        ("subject", Scope::Subject),
    ];

    pub const ANCHORS: [(&str, Anchor); 3] =
        [("epoch", Anchor::Epoch), ("midnight", Anchor::Midnight), ("first_request", Anchor::FirstRequest)];

    pub const WEEKDAYS: [(&str, Weekday); 7] = [
        ("monday", Weekday::Monday),
        ("tuesday", Weekday::Tuesday),
        ("wednesday", Weekday::Wednesday),
        ("thursday", Weekday::Thursday),
        ("friday", Weekday::Friday),
        ("saturday", Weekday::Saturday),
        ("sunday", Weekday::Sunday),
    ];
}

#[cfg(test)]
mod tests;
