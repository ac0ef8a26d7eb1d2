//! An answer, as the profile of its vendor reads it.
//!
//! Clients pass on what they got, through proxies and content networks: dozens of headers, bodies of any size, statuses that HTTP does
//! not know. A release is not refused for any of that: the slot would be held until its lease ends, and nobody would hear of what
//! the vendor said. What the profile does not name is passed over, and what goes beyond the bounds is left out.

use std::borrow::Cow;

use jiff::Timestamp;
use tollgate_limiter::{FeedbackRules, WallTime};
use tollgate_proto::v1;
use tollgate_vendors::{Answer, IGNORED_MAX, Profile, Report};

use crate::preset::Presets;

/// Headers that are read, of those that the profile names: no profile names as many, so somebody repeats one in other cases.
const HEADERS_MAX: usize = 32;
/// Vendors' codes are words.
const ERROR_CODE_BYTES_MAX: usize = 200;

/// What is known beside an answer.
#[derive(Clone, Debug)]
pub struct Receipt<'p> {
    /// Those of the node that was told, which reads it.
    pub presets: &'p Presets,
    /// When it came, by the clock that its dates are compared with.
    pub received_at: WallTime,
    /// How its resource heeds answers, as far as this node knows.
    pub rules: FeedbackRules,
    /// How much longer to wait than the vendor says, drawn at random: 0 to 1,000 thousandths of a tenth of it. Several fleets that were
    /// refused together shall not come back together.
    pub jitter: u64,
}

impl Default for Receipt<'_> {
    /// Of what nothing is known beside it.
    fn default() -> Self {
        Receipt {
            presets: Presets::embedded(),
            received_at: WallTime::default(),
            rules: FeedbackRules::default(),
            jitter: 0,
        }
    }
}

/// What an answer says.
pub struct Reading<'a> {
    /// Who answered, for people.
    pub vendor: &'a str,
    /// Its preset has read it, and not only what HTTP itself says.
    pub is_by_preset: bool,
    /// What was read.
    pub report: Report,
    /// Headers that the profile names, and that were too many.
    left_out: Vec<&'a str>,
}

impl<'a> Reading<'a> {
    /// By the preset of the vendor that the client names, or else of the resource's; by the standard if there is none.
    pub fn of(feedback: &'a v1::VendorFeedback, receipt: &'a Receipt<'_>) -> Reading<'a> {
        let vendors = [feedback.vendor.as_str(), receipt.rules.vendor.as_str()];
        let vendor = vendors.into_iter().find(|vendor| !vendor.is_empty());
        let preset = vendor.and_then(|vendor| Some(receipt.presets.select(vendor).ok()?.0));
        let profile = match preset {
            Some(preset) => Cow::Borrowed(&preset.profile),
            None => Cow::Owned(Profile::standard()),
        };
        let mut named = feedback.headers.iter().filter(|(name, _)| profile.reads(name));
        let headers = named.by_ref().take(HEADERS_MAX);
        let headers: Vec<_> = headers.map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let left_out = named.map(|(name, _)| name.as_str()).take(IGNORED_MAX).collect();
        let code = match (feedback.error_code.len(), preset) {
            (1..=ERROR_CODE_BYTES_MAX, _) => feedback.error_code.clone(),
            (_, Some(preset)) => preset.code_in(&feedback.body),
            (_, None) => String::new(),
        };
        let status = u16::try_from(feedback.status).unwrap_or(u16::MAX);
        let received_at = Timestamp::from_nanosecond(i128::from(receipt.received_at.0));
        let received_at =
            received_at.expect("64 bits of nanoseconds end in 2262, timestamps millennia later");
        let report = profile.read(&Answer { status, headers: &headers, code: &code }, received_at);
        Reading { vendor: vendor.unwrap_or("the vendor"), is_by_preset: preset.is_some(), report, left_out }
    }

    /// The headers that made no sense or were too many, at most [`IGNORED_MAX`].
    pub fn ignored_headers(&self) -> Vec<String> {
        let senseless = self.report.ignored.iter().map(|ignored| ignored.header.as_str());
        senseless.chain(self.left_out.iter().copied()).take(IGNORED_MAX).map(str::to_owned).collect()
    }
}
