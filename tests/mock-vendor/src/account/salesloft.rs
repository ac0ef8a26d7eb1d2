//! Salesloft: cost in any minute; pages far down a list cost more. The page is that of the query: `?page=151`.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tokio::time::Instant;

use super::{Account, Capacity, Refusal};
use crate::{call::Asked, limit::Rolling, traffic::Traffic};

/// The figures of a team.
#[derive(Clone, Copy, Debug)]
pub struct Salesloft {
    /// Cost in any minute.
    pub cost: u64,
    /// The minute.
    pub period: Duration,
}

impl Salesloft {
    /// Any team.
    pub const STANDARD: Salesloft = Salesloft { cost: 600, period: Duration::from_secs(60) };

    pub(crate) fn faster(self, factor: u32) -> Salesloft {
        Salesloft { period: self.period / factor, ..self }
    }

    pub(crate) fn open(self) -> impl Account {
        SalesloftAccount { minute: Rolling::new(self.cost, self.period) }
    }
}

struct SalesloftAccount {
    minute: Rolling,
}

fn cost(page: u64) -> u64 {
    match page {
        0..=100 => 1,
        101..=150 => 3,
        151..=250 => 8,
        251..=500 => 10,
        501.. => 30,
    }
}

impl Account for SalesloftAccount {
    fn arrive(&mut self, asked: &Asked, _: &Traffic, now: Instant) -> Result<(), Refusal> {
        let cost = cost(asked.page);
        if !self.minute.has_room(now, cost) {
            let status = StatusCode::TOO_MANY_REQUESTS;
            let body = json!({ "error": "Too many requests" });
            return Err(Refusal { limit: "minute", status, headers: vec![], body });
        }
        self.minute.spend(now, cost);
        Ok(())
    }

    fn headers(&mut self, asked: &Asked, now: Instant) -> Vec<(&'static str, String)> {
        vec![
            ("x-ratelimit-endpoint-cost", cost(asked.page).to_string()),
            ("x-ratelimit-remaining-minute", self.minute.remaining(now).to_string()),
        ]
    }

    fn cost(&self, asked: &Asked) -> u64 {
        cost(asked.page)
    }

    fn tighten(&mut self, percent: u32, told: bool) {
        self.minute.amount.tighten(percent, told);
    }

    fn capacity(&self) -> Capacity {
        self.minute.capacity()
    }
}
