//! How vendors decide on calls: one file a vendor, from its documentation.

pub mod apollo;
pub mod hubspot;
pub mod salesforce;
pub mod salesloft;

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;
use tokio::time::Instant;

use crate::{call::Asked, traffic::Traffic};

/// The state of one customer's account with a vendor.
pub trait Account: Send {
    /// Decides on a call that arrives now; one that is let through has spent what it costs.
    fn arrive(&mut self, asked: &Asked, traffic: &Traffic, now: Instant) -> Result<(), Refusal>;

    /// What the vendor tells with every answer.
    fn headers(&mut self, asked: &Asked, now: Instant) -> Vec<(&'static str, String)>;

    /// What the call weighs.
    fn cost(&self, asked: &Asked) -> u64;

    /// Allows so many percent of what is documented from now on; `told`: headers say so.
    fn tighten(&mut self, percent: u32, told: bool);

    /// What callers can have.
    fn capacity(&self) -> Capacity;
}

/// What callers can have of a vendor, as far as it is used up in seconds and minutes: a day's quota is not counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Capacity {
    /// So much cost of calls in each window.
    Cost { amount: u64, window: Duration },
    /// So many calls that run.
    Calls(usize),
}

/// Why a call is not let through, and how the vendor says so.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// Which limit: a name for the ledger.
    pub limit: &'static str,
    pub status: StatusCode,
    pub headers: Vec<(&'static str, String)>,
    pub body: Value,
}
