//! Permits in advance: one request for many calls, spent here without asking.

mod chunk;
mod sizing;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{runtime::Handle, time::Instant};
use tollgate_proto::v1::{Outcome, Resource};

pub use self::chunk::Prefetched;
use self::{chunk::Chunk, sizing::Sizing};
use crate::{acquire::Acquire, error::Error, permit::Permit};

/// How long permits are held at most.
const HOLD_MAX: Duration = Duration::from_secs(10);

/// How much may be taken in advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefetchBounds {
    /// How much of each limit that applies, in percent of its amount: 1 to 100. Default 5. A chunk is never smaller than one
    /// call.
    pub share_percent: u32,
    /// How long permits may be held before they are used: 1 ms to 10 s. Default 500 ms. Where windows apply, the resource's
    /// `dispatch_tolerance` ends it sooner.
    pub hold: Duration,
}

impl Default for PrefetchBounds {
    fn default() -> PrefetchBounds {
        PrefetchBounds { share_percent: 5, hold: Duration::from_millis(500) }
    }
}

/// Takes permits in advance, and hands them out in nanoseconds: for workers that call more often than they can ask. Made by
/// [`Acquire::prefetch`]; cheap to clone, all clones share what was taken.
///
/// A chunk is one permit that costs as much as many calls. All of it is debited before any of it is handed out, so limits
/// hold as they do without; it is kept for a moment only ([`PrefetchBounds::hold`], and never longer than a single permit
/// of the resource may be), and what was not used by then is given back. How much is taken follows recent use: twice as much when a
/// chunk is used up early, else as much as was used, and never more than a share of any limit.
///
/// What it costs: others are denied what lies here unused. What a process that crashes had taken and not used counts as
/// spent, one chunk at most, until the window has moved or the bucket refilled; and so it does of a resource whose
/// `settle_within` is 0. Calls are not settled one by one. A bucket's grants are as even as ever, but calls may be
/// made later than they were granted, by as much as permits are held.
///
/// Limits that count calls under way, and leaky buckets, which space calls one by one, cannot be served in advance: of such a
/// resource each request fails.
///
/// ```no_run
/// # use tollgate_client::{Client, Error, PrefetchBounds};
/// # async fn example(client: Client) -> Result<(), Error> {
/// let permits = client.acquire("openai/acme").operation("embed").prefetch(PrefetchBounds::default())?;
/// for _ in 0..100_000 {
///     let permit = permits.take().await?;
///     permit.ensure_usable()?; // right before the vendor is called
///     // … call the vendor, with the credential `permit.key()` …
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Prefetch {
    shared: Arc<Shared>,
}

struct Shared {
    /// A request for one call.
    unit: Acquire,
    bounds: PrefetchBounds,
    stock: Mutex<Stock>,
    /// Whoever holds it asks for the next chunk; others wait for that. With the resource as it was last read.
    asking: tokio::sync::Mutex<Option<Resource>>,
    runtime: Handle,
}

/// What there is to hand out.
struct Stock {
    chunk: Option<Chunk>,
    sizing: Sizing,
}

impl Prefetch {
    pub(crate) fn new(unit: Acquire, bounds: PrefetchBounds) -> Result<Prefetch, Error> {
        let PrefetchBounds { share_percent, hold } = bounds;
        if !(1..=100).contains(&share_percent) {
            return Err(Error::invalid("share_percent", format!("must be 1 to 100, not {share_percent}")));
        }
        if hold < Duration::from_millis(1) || hold > HOLD_MAX {
            return Err(Error::invalid("hold", format!("must be 1ms to {HOLD_MAX:?}, not {hold:?}")));
        }
        if !unit.own_id {
            return Err(Error::invalid("request_id", "must not be set: each chunk is a request of its own"));
        }
        if !unit.request.alternatives.is_empty() {
            return Err(Error::invalid("alternatives", "must be empty: a chunk is of one resource"));
        }
        let stock = Mutex::new(Stock { chunk: None, sizing: Sizing::default() });
        let asking = tokio::sync::Mutex::default();
        let shared = Shared { unit, bounds, stock, asking, runtime: Handle::current() };
        Ok(Prefetch { shared: Arc::new(shared) })
    }

    /// A permit that was taken in advance, if there is one.
    pub fn try_take(&self) -> Option<Prefetched> {
        self.shared.stock.lock().chunk.as_mut()?.take(Instant::now())
    }

    /// A permit that was taken in advance; if there is none, the next chunk is asked for. With
    /// [`Acquire::wait_up_to`] a single permit is waited for when there is no room for more.
    ///
    /// # Errors
    /// As awaiting a single request, and [`Error::Invalid`] for a resource that cannot be served in advance.
    pub async fn take(&self) -> Result<Prefetched, Error> {
        if let Some(permit) = self.try_take() {
            return Ok(permit);
        }
        let mut definition = self.shared.asking.lock().await;
        match self.try_take() {
            Some(permit) => Ok(permit),
            None => self.ask(&mut definition).await,
        }
    }

    /// Puts back a permit whose call was certainly not made. It is handed out again if its time is not over.
    pub fn put_back(&self, permit: Prefetched) {
        if let Some(chunk) = &mut self.shared.stock.lock().chunk {
            chunk.put_back(&permit);
        }
    }

    /// Asks for the next chunk, smaller ones if there is no room for it.
    async fn ask(&self, definition: &mut Option<Resource>) -> Result<Prefetched, Error> {
        self.shared.end_chunk_if(|_| true);
        let mut size = self.shared.stock.lock().sizing.next();
        loop {
            match self.shared.unit.times(size).await {
                Ok(permit) => return self.stock_up(permit, size, definition).await,
                Err(Error::Denied(denial)) if size > 1 => size = sizing::fitting(&denial, size),
                // More than a budget's ceiling, or than a limit that has been lowered since.
                Err(Error::Invalid { .. }) if size > 1 => size /= 2,
                Err(error) => return Err(error),
            }
        }
    }

    /// Hands out the first of a new chunk. The others are for whoever comes.
    async fn stock_up(
        &self,
        permit: Permit,
        size: u64,
        definition: &mut Option<Resource>,
    ) -> Result<Prefetched, Error> {
        let most = match self.shared.most(&permit, definition).await {
            Ok(most) => most,
            Err(error) => {
                if let Err(error) = permit.release().outcome(Outcome::NotSent).await {
                    tracing::debug!(%error, "a permit that cannot be divided was not given back");
                }
                return Err(error);
            }
        };
        let held = Instant::now() + self.shared.bounds.hold;
        let (chunk, first) = Chunk::new(permit, size, held, Arc::downgrade(&self.shared));
        let mut stock = self.shared.stock.lock();
        stock.sizing.bound(most);
        stock.chunk = Some(chunk);
        Ok(first)
    }
}

impl Shared {
    /// How many calls a chunk may be for, by what is told of the limits that it was taken from.
    async fn most(&self, permit: &Permit, definition: &mut Option<Resource>) -> Result<u64, Error> {
        if permit.replayed() {
            // Nothing is told.
            return Ok(self.stock.lock().sizing.most());
        }
        let by = |resource: &Resource| {
            sizing::most(resource, permit.usage(), &self.unit.request, self.bounds.share_percent)
        };
        if let Some(known) = definition
            && let Some(most) = by(known)?
        {
            return Ok(most);
        }
        let read = self.unit.client.resources().get(&self.unit.request.resource).await?;
        // Changed again meanwhile: the next chunk tells more.
        Ok(by(definition.insert(read))?.unwrap_or(1))
    }

    /// Gives back what is left of the chunk, if it is to end.
    fn end_chunk_if(&self, ends: impl FnOnce(&Chunk) -> bool) {
        let mut stock = self.stock.lock();
        if let Some(chunk) = stock.chunk.take_if(|chunk| ends(chunk)) {
            stock.sizing.learn(chunk.size(), chunk.left());
            chunk.settle(&self.unit.request, &self.runtime);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.end_chunk_if(|_| true);
    }
}
