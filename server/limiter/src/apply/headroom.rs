//! Which of several keys has the most room left.
//!
//! The headroom of a key is the smallest share that is left of any enforced limit that counts by key and applies to the
//! request: available / amount, before the request is debited. Shares are compared exactly, as products of integers;
//! whole units count, as usage reports them. Limits that do not count by key are the same for all keys, and shadow limits
//! stop nobody, so neither has a say.

use super::{evaluate::available, request::Demand};
use crate::{
    model::{Scope, Stamp},
    state::ResourceState,
};

/// A share of a limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Headroom {
    available: u64,
    amount: u64,
}

impl Headroom {
    /// Nothing that counts by key is in use.
    const FULL: Headroom = Headroom { available: 1, amount: 1 };

    /// Of the key that the demands were made for.
    pub(super) fn of(state: &ResourceState, demands: &[Demand], now: Stamp) -> Headroom {
        let mut least = Headroom::FULL;
        for demand in demands {
            let limit = &state.definition.limits[demand.limit];
            if limit.scope != Scope::Key || limit.shadow {
                continue;
            }
            // A debt is no less than nothing: what is in debt does not fit.
            let available = u64::try_from(available(state, demand, now)).unwrap_or(0);
            let share = Headroom { available, amount: limit.kind.amount() };
            if least.exceeds(share) {
                least = share;
            }
        }
        least
    }

    /// Whether it is the greater share, exactly: a/b > c/d if and only if a·d > c·b, and products of two 64-bit
    /// numbers fit in 128 bits.
    pub(super) fn exceeds(self, other: Headroom) -> bool {
        u128::from(self.available) * u128::from(other.amount)
            > u128::from(other.available) * u128::from(self.amount)
    }
}
