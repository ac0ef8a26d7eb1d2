//! When the results of all resources end, so that together they stay within what a node can hold.

use super::CowMap;
use crate::model::{ClusterTime, CoalesceKey, ResourceName};

/// Results kept at most, over all resources. The public API states it.
const MAX_RESULTS: usize = 100_000;

/// Bytes of results kept at most, over all resources, by [`super::Kept::weight`]. The public API states it.
const MAX_BYTES: u64 = 64 << 20;

/// Each result by its end, with its weight. Follows from the resources, and is not encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResultEnds {
    by_end: CowMap<(ClusterTime, ResourceName, CoalesceKey), u64>,
    bytes: u64,
}

impl ResultEnds {
    pub(crate) fn len(&self) -> usize {
        self.by_end.len()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn insert(
        &mut self,
        until: ClusterTime,
        resource: ResourceName,
        key: CoalesceKey,
        weight: u64,
    ) {
        self.bytes += weight;
        self.by_end.insert((until, resource, key), weight);
    }

    pub(crate) fn remove(&mut self, until: ClusterTime, resource: ResourceName, key: CoalesceKey) {
        self.bytes -= self.by_end.remove(&(until, resource, key)).unwrap_or_default();
    }

    /// A result that has ended.
    pub(crate) fn ended(&self, now: ClusterTime) -> Option<(ResourceName, CoalesceKey)> {
        self.first().filter(|(until, ..)| *until <= now).map(|(_, resource, key)| (resource, key))
    }

    /// While there is more than may be, the result that ends first.
    pub(crate) fn surplus(&self) -> Option<(ResourceName, CoalesceKey)> {
        let is_over = self.by_end.len() > MAX_RESULTS || self.bytes > MAX_BYTES;
        self.first().filter(|_| is_over).map(|(_, resource, key)| (resource, key))
    }

    fn first(&self) -> Option<(ClusterTime, ResourceName, CoalesceKey)> {
        self.by_end.first().map(|(end, _)| end.clone())
    }
}
