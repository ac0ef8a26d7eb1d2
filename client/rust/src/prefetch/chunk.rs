//! One permit for many calls.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    task::AbortHandle,
    time::{Instant, sleep_until},
};
use tollgate_proto::v1::{AcquirePermitRequest, Outcome};

use super::Shared;
use crate::permit::{Permit, Unusable};

/// How long it is tried to give back what was not used. What is not given back counts as spent.
const SETTLE_DEADLINE: Duration = Duration::from_secs(5);

/// The right to make one call to a vendor, taken in advance. It is used up whether or not the call is made, unless it is
/// [put back](super::Prefetch::put_back).
#[derive(Debug)]
#[must_use = "it was spent for one call"]
pub struct Prefetched {
    source: Arc<Source>,
}

/// What the permits of a chunk have in common.
#[derive(Debug)]
struct Source {
    permit_id: String,
    key: String,
    usable_until: Instant,
}

impl Prefetched {
    /// The name of the credential to call the vendor with; empty when the resource lists none.
    pub fn key(&self) -> &str {
        &self.source.key
    }

    /// Names the permit at the server that this is a part of; opaque.
    pub fn permit_id(&self) -> &str {
        &self.source.permit_id
    }

    /// Ask this right before the call is dispatched.
    ///
    /// # Errors
    /// [`Unusable::TooLateToDispatch`] when the time to dispatch it has passed.
    pub fn ensure_usable(&self) -> Result<(), Unusable> {
        match Instant::now() < self.source.usable_until {
            true => Ok(()),
            false => Err(Unusable::TooLateToDispatch),
        }
    }
}

/// What is left of a permit for `size` calls.
pub(super) struct Chunk {
    permit: Permit,
    source: Arc<Source>,
    size: u64,
    left: u64,
    _end: End,
}

/// Ends the chunk when its time is over, unless it is gone before.
struct End(AbortHandle);

impl Drop for End {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Chunk {
    /// A chunk that ends at `held`, or as soon as the permit may be dispatched no more; and the first of its permits.
    pub(super) fn new(permit: Permit, size: u64, held: Instant, of: Weak<Shared>) -> (Chunk, Prefetched) {
        let usable_until = permit.dispatch_within().map_or(held, |within| held.min(Instant::now() + within));
        let source = Arc::new(Source {
            permit_id: permit.id().to_owned(),
            key: permit.key().to_owned(),
            usable_until,
        });
        let end = tokio::spawn(async move {
            sleep_until(usable_until).await;
            if let Some(shared) = of.upgrade() {
                shared.end_chunk_if(|chunk| chunk.is_over(Instant::now()));
            }
        });
        let first = Prefetched { source: source.clone() };
        (Chunk { permit, source, size, left: size - 1, _end: End(end.abort_handle()) }, first)
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        now >= self.source.usable_until
    }

    pub(super) fn take(&mut self, now: Instant) -> Option<Prefetched> {
        if self.left == 0 || self.is_over(now) {
            return None;
        }
        self.left -= 1;
        Some(Prefetched { source: self.source.clone() })
    }

    /// Takes back one of its own.
    pub(super) fn put_back(&mut self, permit: &Prefetched) {
        if Arc::ptr_eq(&self.source, &permit.source) {
            self.left += 1;
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Says what it truly weighed, in the background. `unit` is the request for one call.
    pub(super) fn settle(self, unit: &AcquirePermitRequest, runtime: &Handle) {
        if self.left == 0 {
            return;
        }
        let spent = self.size - self.left;
        let mut release = self.permit.release().deadline(SETTLE_DEADLINE);
        if spent == 0 {
            release = release.outcome(Outcome::NotSent);
        } else {
            // How its calls went is told one by one, if at all.
            release = release.outcome(Outcome::Unknown);
            release = release.cost(unit.cost.unwrap_or(1).saturating_mul(spent));
            for (dimension, amount) in &unit.amounts {
                release = release.amount(dimension, amount.saturating_mul(spent));
            }
        }
        runtime.spawn(async move {
            if let Err(error) = release.await {
                tracing::debug!(%error, "what was taken in advance and not used was not given back");
            }
        });
    }
}
