//! HubSpot: calls in any ten seconds, searches in any second, and calls a day.
//!
//! A path that ends with `/search` is a search; answers to searches carry no headers about limits.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tokio::time::Instant;

use super::{Account, Capacity, Refusal};
use crate::{
    call::Asked,
    limit::{Fixed, Rolling},
    traffic::Traffic,
};

/// The figures of a private app.
#[derive(Clone, Copy, Debug)]
pub struct HubSpot {
    /// Calls in any ten seconds.
    pub burst: u64,
    /// The ten seconds.
    pub burst_period: Duration,
    /// Searches in any second.
    pub searches: u64,
    /// The second.
    pub search_period: Duration,
    /// Calls a day.
    pub daily: u64,
    /// The day.
    pub day: Duration,
    /// When it ends for the first time, after the start of the vendor.
    pub midnight_in: Duration,
}

impl HubSpot {
    /// A private app of an account with the Professional plan.
    pub const PROFESSIONAL: HubSpot = HubSpot {
        burst: 190,
        burst_period: Duration::from_secs(10),
        searches: 5,
        search_period: Duration::from_secs(1),
        daily: 625_000,
        day: Duration::from_secs(86_400),
        midnight_in: Duration::from_secs(43_200),
    };

    pub(crate) fn faster(self, factor: u32) -> HubSpot {
        HubSpot {
            burst_period: self.burst_period / factor,
            search_period: self.search_period / factor,
            day: self.day / factor,
            midnight_in: self.midnight_in / factor,
            ..self
        }
    }

    pub(crate) fn open(self, now: Instant) -> impl Account {
        HubSpotAccount {
            burst: Rolling::new(self.burst, self.burst_period),
            searches: Rolling::new(self.searches, self.search_period),
            daily: Fixed::ending_at(now + self.midnight_in, self.daily, self.day),
        }
    }
}

struct HubSpotAccount {
    burst: Rolling,
    searches: Rolling,
    daily: Fixed,
}

fn is_search(asked: &Asked) -> bool {
    asked.path.ends_with("/search")
}

fn refused(limit: &'static str, policy: &str) -> Refusal {
    let message = format!("You have reached your {} limit.", policy.to_lowercase());
    let body =
        json!({ "status": "error", "message": message, "errorType": "RATE_LIMIT", "policyName": policy });
    Refusal { limit, status: StatusCode::TOO_MANY_REQUESTS, headers: vec![], body }
}

impl Account for HubSpotAccount {
    fn arrive(&mut self, asked: &Asked, _: &Traffic, now: Instant) -> Result<(), Refusal> {
        if !self.daily.has_room(now, 1) {
            return Err(refused("daily", "DAILY"));
        }
        if !self.burst.has_room(now, 1) {
            return Err(refused("ten seconds", "TEN_SECONDLY_ROLLING"));
        }
        if is_search(asked) {
            if !self.searches.has_room(now, 1) {
                return Err(refused("searches", "SECONDLY"));
            }
            self.searches.spend(now, 1);
        }
        self.burst.spend(now, 1);
        self.daily.spend(now, 1);
        Ok(())
    }

    fn headers(&mut self, asked: &Asked, now: Instant) -> Vec<(&'static str, String)> {
        if is_search(asked) {
            return vec![];
        }
        vec![
            ("x-hubspot-ratelimit-daily", self.daily.amount.shown().to_string()),
            ("x-hubspot-ratelimit-daily-remaining", self.daily.remaining(now).to_string()),
            // It names the policy, whatever the vendor's clock does.
            ("x-hubspot-ratelimit-interval-milliseconds", "10000".to_owned()),
            ("x-hubspot-ratelimit-max", self.burst.amount.shown().to_string()),
            ("x-hubspot-ratelimit-remaining", self.burst.remaining(now).to_string()),
        ]
    }

    fn cost(&self, _: &Asked) -> u64 {
        1
    }

    fn tighten(&mut self, percent: u32, told: bool) {
        self.burst.amount.tighten(percent, told);
    }

    fn capacity(&self) -> Capacity {
        self.burst.capacity()
    }
}
