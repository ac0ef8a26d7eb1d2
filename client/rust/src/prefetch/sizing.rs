//! For how many calls the next chunk is.

use tollgate_proto::v1::{AcquirePermitRequest, LimitUsage, Resource, limit::Kind};

use crate::{denial::Denial, error::Error};

/// Calls that a chunk is for at most, where limits are larger still: what is lost with a process that crashes.
const CHUNK_MAX: u64 = 1_000_000;

/// Follows recent use.
#[derive(Debug)]
pub(super) struct Sizing {
    next: u64,
    most: u64,
}

impl Default for Sizing {
    /// One call, until the limits are known.
    fn default() -> Sizing {
        Sizing { next: 1, most: 1 }
    }
}

impl Sizing {
    /// How many calls the next chunk is for: 1 or more.
    pub(super) fn next(&self) -> u64 {
        self.next.min(self.most)
    }

    pub(super) fn most(&self) -> u64 {
        self.most
    }

    /// A chunk is for at most so many calls, 1 or more.
    pub(super) fn bound(&mut self, most: u64) {
        self.most = most;
    }

    /// A chunk has ended, with so many left.
    pub(super) fn learn(&mut self, size: u64, left: u64) {
        self.next = match left {
            // Used up early: nobody knows how much more would have been used.
            0 => size.saturating_mul(2),
            _ => (size - left).max(1),
        };
    }
}

/// How many calls fit in the share of each limit that applies. None: the definition does not know one of them.
///
/// # Errors
/// [`Error::Invalid`] for a limit that cannot be spent in advance, and where nobody says what a call costs.
pub(super) fn most(
    resource: &Resource,
    usage: &[LimitUsage],
    unit: &AcquirePermitRequest,
    share_percent: u32,
) -> Result<Option<u64>, Error> {
    if unit.cost.is_none() && !resource.operation_costs.is_empty() {
        let problem = "must be stated for permits in advance: the resource says what its operations cost";
        return Err(Error::invalid("cost", problem));
    }
    let mut most = CHUNK_MAX;
    for usage in usage.iter().filter(|usage| !usage.shadow) {
        let Some(limit) = resource.limits.iter().find(|limit| limit.name == usage.limit) else {
            return Ok(None);
        };
        if matches!(limit.kind, Some(Kind::Concurrency(_) | Kind::LeakyBucket(_))) {
            let problem = format!("limit `{}` counts calls under way, or spaces them one by one", limit.name);
            return Err(Error::invalid("prefetch", problem));
        }
        let weight = match limit.dimension.is_empty() {
            true => unit.cost.unwrap_or(1),
            false => unit.amounts.get(&limit.dimension).copied().unwrap_or_default(),
        };
        let share = u128::from(usage.amount) * u128::from(share_percent) / 100;
        let calls = share / u128::from(weight.max(1));
        most = most.min(u64::try_from(calls).unwrap_or(u64::MAX));
    }
    Ok(Some(most.max(1)))
}

/// For how many calls there is room, where there is none for `size`, which is more than 1.
pub(super) fn fitting(denial: &Denial, size: u64) -> u64 {
    let room = denial.exhausted.iter().map(|limit| {
        let available = u128::try_from(limit.available).unwrap_or(0);
        available * u128::from(size) / u128::from(limit.requested.max(1))
    });
    // Others that wait, or a budget, may hold up what the limit has room for: each try is for half at most.
    let most = size / 2;
    room.min().and_then(|room| u64::try_from(room).ok()).unwrap_or(1).clamp(1, most)
}

#[cfg(test)]
mod tests {
    use tollgate_proto::v1::OperationCost;

    use super::*;

    #[test]
    fn what_a_call_costs_is_stated_where_operations_differ() {
        let costs = vec![OperationCost { operation: "gmail/send".to_owned(), cost: 100 }];
        let resource = Resource { operation_costs: costs, ..Resource::default() };
        let unit = |cost| AcquirePermitRequest { cost, ..AcquirePermitRequest::default() };
        let refused = most(&resource, &[], &unit(None), 50).unwrap_err().to_string();
        assert!(refused.contains("cost") && refused.contains("must be stated"), "{refused}");
        assert_eq!(most(&resource, &[], &unit(Some(100)), 50).unwrap(), Some(CHUNK_MAX));
        assert_eq!(most(&Resource::default(), &[], &unit(None), 50).unwrap(), Some(CHUNK_MAX));
    }

    #[test]
    fn chunks_follow_use_within_the_bound() {
        let mut sizing = Sizing::default();
        assert_eq!(sizing.next(), 1);
        sizing.bound(6);
        for (left, next) in [(0, 2), (0, 4), (0, 6), (1, 5), (5, 1), (1, 1), (0, 2)] {
            sizing.learn(sizing.next(), left);
            assert_eq!(sizing.next(), next, "after {left} were left");
        }
    }
}
