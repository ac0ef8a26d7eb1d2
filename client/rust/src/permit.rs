//! A permit in the hands of its user.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::{runtime::Handle, time::Instant};
use tollgate_proto::v1::{self, LimitUsage, Outcome, Slot};

use crate::{
    client::Client,
    duration::from_wire,
    error::Error,
    lease::{Lease, safe_end},
    release::Release,
};

/// How long the background release of a dropped permit is tried. After that its lease ends it.
const DROP_DEADLINE: Duration = Duration::from_secs(5);

/// The right to make one call to a vendor.
///
/// While it lives, the lease of a permit that holds slots (or a [call for many](crate::Acquire::coalesce)) is renewed in the
/// background. Dropping it releases the slots, as far as the runtime still runs, and says that nobody knows how the call went
/// ([`Outcome::Unknown`]); [`Permit::release`] does so for certain, and says how it went and what it truly cost.
#[must_use = "dropping a permit releases it"]
pub struct Permit {
    client: Client,
    id: String,
    resource: String,
    key: String,
    slots: Vec<Slot>,
    usage: Vec<LimitUsage>,
    replayed: bool,
    waited: Duration,
    dispatch_until: Option<Instant>,
    lease: Option<Lease>,
    /// A call that was given it may still hold a part in it when this is decided.
    on_drop: Mutex<OnDrop>,
    /// Where a dropped permit is released, whatever thread drops it.
    runtime: Handle,
}

/// Why a permit may not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The lease may have ended: somebody else may hold the slot. Stop the call.
    #[error(
        "the permit's lease may have ended, and its slot may be another's: stop, and acquire a new permit"
    )]
    LeaseLost,
    /// Too late to dispatch the call: it might arrive in a window that does not count it. If it was never sent, release
    /// the permit with [`Outcome::NotSent`](crate::Outcome::NotSent) and acquire another one.
    #[error(
        "the time to dispatch the call has passed: release the permit as not sent, and acquire a new one"
    )]
    TooLateToDispatch,
}

/// What dropping a permit does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnDrop {
    /// Frees its slots.
    Release,
    /// Tells that nobody knows how its call went. The vendor may still be at work on it, so its slots are left to the lease.
    Tell,
    /// It was released, detached, left to its lease, or is known to have ended.
    Nothing,
}

/// How a new permit is kept.
#[derive(Clone, Copy)]
pub(crate) struct Keep {
    /// The lease that was asked for, and is with each renewal; none: the resource's default.
    pub(crate) lease: Option<Duration>,
    /// Renew in the background.
    pub(crate) renew: bool,
}

impl Permit {
    /// The times in the grant count from `granted_from`.
    pub(crate) fn new(
        client: Client,
        granted: v1::GrantedPermit,
        granted_from: Instant,
        keep: &Keep,
    ) -> Permit {
        let id = granted.permit_id;
        let lease = granted.lease.map(from_wire).map(|span| match keep.renew {
            true => Lease::renewed(client.clone(), id.clone(), keep.lease, granted_from, span),
            false => Lease::fixed(granted_from, span),
        });
        let dispatch_until = granted.use_within.map(from_wire).map(|within| safe_end(granted_from, within));
        Permit {
            client,
            id,
            resource: granted.resource,
            key: granted.key,
            slots: granted.slots,
            usage: granted.usage,
            replayed: granted.replayed,
            waited: granted.waited.map(from_wire).unwrap_or_default(),
            dispatch_until,
            lease,
            on_drop: Mutex::new(OnDrop::Release),
            runtime: Handle::current(),
        }
    }

    /// Names the permit at the server; opaque.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The resource to call: the one that was asked for, or one of its [alternatives](crate::Acquire::or).
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// How long the request waited for its turn at the server; 0 when it was decided at once.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// The name of the credential to call the vendor with; empty when the resource lists none.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The slots held, one for each concurrency limit that applies. (index, generation) is a fencing token.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// What was left of each limit that applies, after this grant; empty on a replay.
    pub fn usage(&self) -> &[LimitUsage] {
        &self.usage
    }

    /// The request id had been granted before, and this is that permit again.
    pub fn replayed(&self) -> bool {
        self.replayed
    }

    /// How much longer the call may be dispatched; none: for as long as the lease is held.
    pub fn dispatch_within(&self) -> Option<Duration> {
        self.dispatch_until.map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// How much longer the slots are held for certain unless the lease is renewed, 0 once it may have ended; none: the
    /// permit holds no slots.
    pub fn held_for_another(&self) -> Option<Duration> {
        self.lease.as_ref().map(Lease::left)
    }

    /// Whether a call that is under way may go on: its slots are held for certain, or it needs none.
    pub fn is_held(&self) -> bool {
        self.held_for_another().is_none_or(|left| !left.is_zero())
    }

    /// Whether the call may be dispatched now: see [`Permit::ensure_usable`].
    pub fn is_usable(&self) -> bool {
        self.ensure_usable().is_ok()
    }

    /// Ask this right before the call is dispatched: fails when the time to dispatch it has passed, or when the lease may
    /// have ended. A call that is under way needs only the lease: [`Permit::is_held`], [`Permit::lost`].
    pub fn ensure_usable(&self) -> Result<(), Unusable> {
        if !self.is_held() {
            return Err(Unusable::LeaseLost);
        }
        if self.dispatch_until.is_some_and(|until| until <= Instant::now()) {
            return Err(Unusable::TooLateToDispatch);
        }
        Ok(())
    }

    /// Waits until the lease may have ended, which renewals put off; for ever if the permit holds no slots. Use it in
    /// `tokio::select!` beside the vendor call, to stop a call whose slot is lost.
    pub async fn lost(&self) {
        match &self.lease {
            Some(lease) => lease.lost().await,
            None => std::future::pending().await,
        }
    }

    /// Ends the permit: its slots are free at once. Say how the call went, then await. A release that is never awaited,
    /// or fails, drops the permit, which frees its slots.
    pub fn release(mut self) -> Release {
        self.stop_renewing();
        // A release that fails frees the slots all the same.
        *self.on_drop.get_mut() = OnDrop::Release;
        Release::of_permit(self.client.clone(), self)
    }

    /// Leaves the permit to somebody else, who renews and releases it by its id. Nothing is renewed or released here.
    pub fn detach(mut self) -> String {
        *self.on_drop.get_mut() = OnDrop::Nothing;
        std::mem::take(&mut self.id)
    }

    /// The server answered that it ended.
    pub(crate) fn ended(&mut self) {
        *self.on_drop.get_mut() = OnDrop::Nothing;
    }

    /// A call begins that the vendor may go on with when nobody listens any more: from now on only an explicit end frees the slots,
    /// or that of the lease.
    pub(crate) fn outlive_the_call(&self) {
        if !self.slots.is_empty() {
            *self.on_drop.lock() = OnDrop::Tell;
        }
    }

    /// Leaves the slots to the lease if a call that was not answered is to keep them; whether it is.
    pub(crate) fn is_left_to_its_lease(&self) -> bool {
        let mut on_drop = self.on_drop.lock();
        let is_left = *on_drop == OnDrop::Tell;
        if is_left {
            self.stop_renewing();
            *on_drop = OnDrop::Nothing;
        }
        is_left
    }

    /// In the background.
    fn tell<T>(&self, what: impl IntoFuture<Output = Result<T, Error>, IntoFuture: Send + 'static>) {
        let told = what.into_future();
        self.runtime.spawn(async move {
            if let Err(error) = told.await {
                tracing::debug!(%error, "the cluster was not told of a dropped permit; its lease ends it");
            }
        });
    }

    pub(crate) fn stop_renewing(&self) {
        if let Some(lease) = &self.lease {
            lease.stop_renewing();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.stop_renewing();
        // A permit without a lease holds nothing that others wait for.
        if self.lease.is_none() {
            return;
        }
        match *self.on_drop.get_mut() {
            OnDrop::Release => {
                let release = self.client.release(&self.id).outcome(Outcome::Unknown).deadline(DROP_DEADLINE);
                self.tell(release);
            }
            OnDrop::Tell => {
                let report = self.client.report(&self.resource).key(&self.key).permit(&self.id);
                self.tell(report.outcome(Outcome::Unknown).deadline(DROP_DEADLINE));
            }
            OnDrop::Nothing => {}
        }
    }
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Permit")
            .field("id", &self.id)
            .field("resource", &self.resource)
            .field("key", &self.key)
            .field("slots", &self.slots)
            .field("usable", &self.ensure_usable())
            .finish_non_exhaustive()
    }
}
