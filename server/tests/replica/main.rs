//! Replicas against a simulated world. Every test runs with several seeds; one that fails names its seed.

#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod chaos;
mod cluster;
mod coalescing;
mod disk_space;
mod driver;
mod durability;
mod failover;
mod grants;
mod members;
mod messages;
mod time;
mod waiting;
mod words;

/// Runs a test with several seeds.
fn with_seeds(test: impl Fn(u64)) {
    (1..=10).for_each(test);
}
