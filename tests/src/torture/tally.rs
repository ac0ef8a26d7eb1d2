//! What clients did, in numbers.

use std::ops::AddAssign;

use super::{seat::FOUNDERS, way::Way};

/// How operations ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// All that were asked.
    pub operations: u64,
    /// Permits, without those that were granted before.
    pub grants: u64,
    /// Those of them that were asked for over a stream.
    pub streamed: u64,
    /// Those of them that were asked for through one node, whoever led, by the seat of that node: most were forwarded.
    pub through: [u64; FOUNDERS],
    /// Definite failures: nobody could decide.
    pub not_done: u64,
    /// Nobody knows.
    pub unknown: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.operations += other.operations;
        self.grants += other.grants;
        self.streamed += other.streamed;
        self.through.iter_mut().zip(other.through).for_each(|(sum, more)| *sum += more);
        self.not_done += other.not_done;
        self.unknown += other.unknown;
    }
}

impl Tally {
    /// A permit was granted to one that goes this way.
    pub fn count_grant(&mut self, way: Way) {
        self.grants += 1;
        self.streamed += u64::from(way.streams);
        if let Some(seat) = way.seat {
            self.through[seat] += 1;
        }
    }
}
