//! What Tollgate knows about vendors: one file a vendor, in `server/presets`, and the same from users.
//!
//! ```toml
//! vendor = "salesforce"
//! title = "Salesforce"
//! source = "https://developer.salesforce.com/docs/…"
//! verified_on = "2026-11-22"      # absent: nobody has compared the figures with the source, and `doc` is more than is known
//! confidence = "doc"
//! default_plan = "professional"
//!
//! [[parameter]]
//! name = "licences"
//! description = "user licences that the account has"
//! default = 1
//!
//! [[plan]]
//! name = "professional"
//!
//! [[plan.limit]]         # as in files of resources
//! name = "daily"
//! kind = "sliding_window"
//! amount = 100_000
//! period = "24h"
//!
//! [[plan.allowance]]     # more of a limit for each
//! limit = "daily"
//! parameter = "licences"
//! amount = 1_000
//! ```
//!
//! A `[[limit]]` outside of the plans is in all of them, as is a `dispatch_tolerance`, and a plan states only what differs. A limit with `scope = "key"` is
//! one of the whole resource where a resource has no keys: it has one credential then. A token bucket `minute-spread` beside a fixed window
//! `minute` follows that window where a resource changes its amount or its period.
//!
//! A file also tells which operations the limits distinguish and what they cost (`[[operation]]`), where a request does not
//! state its cost, and how the vendor speaks:
//! `[[header]]` and `[[limited]]` become a [`Profile`]; see `profile.rs`.

mod check;
mod expand;
mod files;
mod presets;
mod profile;
mod read;

use std::fmt;

use jiff::civil::Date;
use tollgate_proto::v1;
use tollgate_vendors::{Profile, Sign};

pub use self::{
    files::{Loaded, PresetFile, PresetFileError, load, read_file},
    presets::Presets,
    profile::FORMATS,
    read::read,
};
use crate::toml_reader::Fault;

/// A vendor.
#[derive(Clone, Debug)]
pub struct Preset {
    /// How resources name it, such as `hubspot`.
    pub vendor: String,
    /// For people.
    pub title: String,
    /// The plan that is meant where none is named: the lowest that is paid for.
    pub default_plan: String,
    /// What else is to be known, for people.
    pub notes: Vec<String>,
    /// What the amounts depend on.
    pub parameters: Vec<Parameter>,
    /// What the limits distinguish.
    pub operations: Vec<Operation>,
    /// Plans, tiers or products; at least one.
    pub plans: Vec<Plan>,
    /// Where in a JSON body the error code is, as a JSON pointer (RFC 6901) such as `/0/errorCode`.
    pub code_at: Option<String>,
    /// What its answers mean.
    pub profile: Profile,
    /// The file, as it was read.
    pub text: String,
}

/// Bodies of errors are short; larger ones are not parsed.
const BODY_BYTES_MAX: usize = 8 << 10;

impl Preset {
    /// It has signs with a code, and does not say where in a body that is: they count only where clients name the code themselves.
    pub fn needs_codes_of_clients(&self) -> bool {
        let has_code = |sign: &Sign| sign.code.as_ref().is_some_and(|code| !code.is_empty());
        self.code_at.is_none() && self.profile.signs.iter().any(has_code)
    }

    /// The error code in the body of an answer; empty where there is none, and of a body beyond 8 KiB.
    pub fn code_in(&self, body: &[u8]) -> String {
        let at = self.code_at.as_deref().filter(|_| body.len() <= BODY_BYTES_MAX);
        let found = at.and_then(|at| {
            let body: serde_json::Value = serde_json::from_slice(body).ok()?;
            Some(match body.pointer(at)? {
                serde_json::Value::String(code) => code.clone(),
                other => other.to_string(),
            })
        });
        found.unwrap_or_default()
    }
}

/// A plan, tier or product of a vendor.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How resources name it, such as `professional`.
    pub name: String,
    /// For people.
    pub description: String,
    /// Where the figures are from.
    pub provenance: Provenance,
    /// As `Resource.dispatch_tolerance`.
    pub dispatch_tolerance: Option<prost_types::Duration>,
    /// Without allowances.
    pub limits: Vec<v1::Limit>,
    /// What is added by parameters.
    pub allowances: Vec<Allowance>,
}

/// Where figures are from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// An address, or who said it.
    pub source: String,
    /// When that was last read; absent: nobody has compared the figures with it.
    pub verified_on: Option<Date>,
    /// How much it is worth.
    pub confidence: Confidence,
}

/// How much figures are worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confidence {
    /// The vendor's own text.
    Doc,
    /// Somebody else's transcription of it.
    Third,
    /// Said without a source. Never of a default plan where there is better.
    Claim,
}

/// Something that amounts depend on, such as a number of licences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// How resources name it.
    pub name: String,
    /// For people.
    pub description: String,
    /// Where a resource does not say.
    pub default: u64,
    /// The most that makes sense.
    pub most: u64,
}

/// More of a limit for each of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// The limit's name; a window.
    pub limit: String,
    /// The parameter's name.
    pub parameter: String,
    /// How much for each.
    pub amount: u64,
}

/// Something that limits distinguish, or that costs other than 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// `operation` of a request, or a pattern.
    pub name: String,
    /// For people.
    pub description: String,
    /// What a call weighs that states no `cost`.
    pub cost: u64,
    /// Records that one call takes at most.
    pub records: Option<u64>,
}

/// Everything that is wrong with a preset, at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultyPreset(pub Vec<Fault>);

impl fmt::Display for FaultyPreset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the preset is not valid:")?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl std::error::Error for FaultyPreset {}

/// The words for [`Confidence`].
pub const CONFIDENCES: [(&str, Confidence); 3] =
    [("doc", Confidence::Doc), ("third", Confidence::Third), ("claim", Confidence::Claim)];

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = CONFIDENCES.iter().find(|(_, confidence)| confidence == self);
        f.write_str(word.map_or("", |(word, _)| word))
    }
}

#[cfg(test)]
mod tests;
