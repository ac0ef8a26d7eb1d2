//! How many calls succeeded and failed lately.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use crate::model::{ClusterTime, Span};

/// Parts of a window. A part counts until it is wholly outside.
const PARTS: u64 = 10;

/// Calls of a window that moves by a tenth of its length at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Tally {
    /// By number, counted from the birth of the cluster.
    #[n(0)]
    parts: BTreeMap<u64, Part>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
struct Part {
    #[n(0)]
    calls: u64,
    #[n(1)]
    failures: u64,
}

impl Tally {
    /// One more call.
    pub(crate) fn count(&mut self, succeeded: bool, window: Span, now: ClusterTime) {
        let youngest = number(window, now);
        self.parts.retain(|part, _| *part + PARTS > youngest);
        let part = self.parts.entry(youngest).or_default();
        part.calls += 1;
        part.failures += u64::from(!succeeded);
    }

    /// Calls and failures in the window that ends now.
    pub(crate) fn total(&self, window: Span, now: ClusterTime) -> (u64, u64) {
        let youngest = number(window, now);
        let parts = self.parts.iter().filter(|(part, _)| **part + PARTS > youngest);
        parts.fold((0, 0), |(calls, failures), (_, part)| (calls + part.calls, failures + part.failures))
    }
}

fn number(window: Span, now: ClusterTime) -> u64 {
    now.0 / (window.0 / PARTS).max(1)
}
