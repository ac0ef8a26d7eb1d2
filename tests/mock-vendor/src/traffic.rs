//! Calls that run.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

/// The calls that were let in and have not ended, whether or not their callers still listen.
#[derive(Debug, Default)]
pub struct Traffic {
    /// By the call's place in the ledger: since when.
    running: BTreeMap<usize, Instant>,
}

impl Traffic {
    pub fn begin(&mut self, call: usize, now: Instant) {
        self.running.insert(call, now);
    }

    pub fn end(&mut self, call: usize) {
        self.running.remove(&call);
    }

    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// How many have run for so long at least.
    pub fn running_for(&self, least: Duration, now: Instant) -> usize {
        self.running.values().filter(|since| **since + least <= now).count()
    }
}
