//! Salesforce: calls in any 24 hours, and calls that run for long at the same time.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tokio::time::Instant;

use super::{Account, Capacity, Refusal};
use crate::{call::Asked, limit::Rolling, traffic::Traffic};

/// The figures of an organisation.
#[derive(Clone, Copy, Debug)]
pub struct Salesforce {
    /// Calls in any 24 hours.
    pub daily: u64,
    /// The 24 hours.
    pub day: Duration,
    /// With so many long calls running, no other is let in.
    pub long_calls: usize,
    /// A call is long once it has run for this time. At 0 every call counts from its start.
    pub long_after: Duration,
}

impl Salesforce {
    /// Enterprise Edition with 20 licences, where only calls of 20 s and more count, as it is documented.
    pub const ENTERPRISE: Salesforce = Salesforce {
        daily: 120_000,
        day: Duration::from_secs(86_400),
        long_calls: 25,
        long_after: Duration::from_secs(20),
    };

    /// The same, and every call counts: the strict reading.
    pub const STRICT: Salesforce = Salesforce { long_after: Duration::ZERO, ..Salesforce::ENTERPRISE };

    pub(crate) fn faster(self, factor: u32) -> Salesforce {
        Salesforce { day: self.day / factor, long_after: self.long_after / factor, ..self }
    }

    pub(crate) fn open(self) -> impl Account {
        let Salesforce { daily, day, long_calls, long_after } = self;
        SalesforceAccount { daily: Rolling::new(daily, day), documented: long_calls, long_calls, long_after }
    }
}

struct SalesforceAccount {
    daily: Rolling,
    documented: usize,
    long_calls: usize,
    long_after: Duration,
}

/// No header says when to come back.
fn refused(limit: &'static str, message: &str) -> Refusal {
    let body = json!([{ "message": message, "errorCode": "REQUEST_LIMIT_EXCEEDED" }]);
    Refusal { limit, status: StatusCode::FORBIDDEN, headers: vec![], body }
}

impl Account for SalesforceAccount {
    fn arrive(&mut self, _: &Asked, traffic: &Traffic, now: Instant) -> Result<(), Refusal> {
        if !self.daily.has_room(now, 1) {
            return Err(refused("daily", "TotalRequests Limit exceeded."));
        }
        if traffic.running_for(self.long_after, now) >= self.long_calls {
            return Err(refused(
                "concurrent",
                "ConcurrentRequests (Concurrent API Requests) Limit exceeded.",
            ));
        }
        self.daily.spend(now, 1);
        Ok(())
    }

    fn headers(&mut self, _: &Asked, now: Instant) -> Vec<(&'static str, String)> {
        let usage = format!("api-usage={}/{}", self.daily.used(now), self.daily.amount.shown());
        vec![("sforce-limit-info", usage)]
    }

    fn cost(&self, _: &Asked) -> u64 {
        1
    }

    /// There is no header for concurrency, so nothing can be told.
    fn tighten(&mut self, percent: u32, _: bool) {
        self.long_calls = (self.documented * percent as usize / 100).max(1);
    }

    fn capacity(&self) -> Capacity {
        Capacity::Calls(self.long_calls)
    }
}
