//! One worker: what it does until it is stopped.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep, sleep_until};
use tollgate_client::{Acquire, CallError, Client, Error, Limiter, Outcome, Permit, Priority, Retries};

use crate::{
    backoff::Backoff,
    scene::Task,
    tally::Shared,
    vendor_client::{Reply, VendorClient},
};

/// What keeps a fleet below the vendor's limits.
#[derive(Clone)]
pub enum Style {
    /// Each worker by itself: it calls, and when it is refused it waits and tries again.
    Naive,
    /// A permit for each call.
    Tollgate {
        /// Whom to ask.
        client: Client,
        /// For what.
        resource: String,
        /// In whose name.
        consumer: String,
    },
}

/// Longer than any wait for a turn in a run that does not stand still.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// How long a call may be on its way from here to the vendor. With less than this left, a permit is given back.
const JOURNEY: Duration = Duration::from_millis(10);

/// Until a cluster is asked again that could not answer.
const CLUSTER_PAUSE: Duration = Duration::from_millis(200);

pub struct Worker {
    pub style: Style,
    pub vendor: VendorClient,
    pub backoff: Backoff,
    pub tally: Shared,
    pub random: fastrand::Rng,
    /// Between two pieces of interactive work; none: its work is bulk work, without end.
    pub pause: Option<Duration>,
}

/// The worker cannot go on.
struct Stopped(String);

impl Worker {
    /// Works from `start` on until it is dropped. Until `settled` it does one piece of work only, so that a fleet does not begin
    /// all at once.
    pub async fn work(mut self, start: Instant, settled: Instant) {
        sleep_until(start).await;
        let mut last = self.one().await;
        sleep_until(settled).await;
        while last.is_ok() {
            if let Some(pause) = self.pause {
                // Not all at the same time.
                sleep(pause.mul_f64(0.5 + self.random.f64())).await;
            }
            last = self.one().await;
        }
        if let Err(Stopped(problem)) = last {
            self.tally.problem(problem);
        }
    }

    /// One piece of work, until it is served or given up.
    async fn one(&mut self) -> Result<(), Stopped> {
        let task = self.vendor.task(&mut self.random);
        let wanted = Instant::now();
        let served = match self.style.clone() {
            Style::Naive => self.by_itself(&task).await?,
            Style::Tollgate { client, resource, consumer } => {
                let priority = if self.pause.is_some() { Priority::High } else { Priority::Low };
                let request = || {
                    let request = client.acquire(&resource).consumer(&consumer).priority(priority);
                    request.cost(task.cost).wait_up_to(WAIT_MAX)
                };
                self.with_permits(&client, request, &task).await?
            }
        };
        self.tally.note(|tally| match served {
            Served::After { .. } if self.pause.is_none() => tally.done += 1,
            Served::After { outage: true } => tally.done += 1,
            Served::After { outage: false } => {
                tally.done += 1;
                tally.interactive.push(wanted.elapsed());
            }
            Served::Never => tally.given_up += 1,
        });
        Ok(())
    }

    async fn by_itself(&mut self, task: &Task) -> Result<Served, Stopped> {
        let caller = self.caller();
        for tried in 0..self.backoff.tries {
            match caller.call(task, None).await {
                Ok(_) => return Ok(caller.served()),
                Err(reply) if reply.outcome == Outcome::ClientError => return Err(Stopped::by_vendor(task)),
                Err(reply) => {
                    let delay = self.backoff.delay(tried, self.random.f64());
                    sleep(reply.retry_after.unwrap_or_default().max(delay)).await;
                }
            }
        }
        Ok(Served::Never)
    }

    /// When to try again is the client's business, and the cluster's.
    async fn with_permits(
        &self,
        client: &Client,
        request: impl Fn() -> Acquire,
        task: &Task,
    ) -> Result<Served, Stopped> {
        let Backoff { base, cap: delay_max, tries } = self.backoff;
        let retries = Retries { tries, base, delay_max, ..Retries::default() };
        let limiter =
            Limiter::new(client.clone()).vendor(self.vendor.preset()).idempotent(true).retries(retries);
        let caller = self.caller();
        loop {
            let call = |permit: Arc<Permit>| {
                let (caller, task) = (caller.clone(), task.clone());
                async move { caller.call_with(&permit, &task).await }
            };
            match limiter.call(request(), call).await {
                Ok(_) => return Ok(caller.served()),
                Err(CallError::Failed { error: Reply { outcome: Outcome::ClientError, .. }, .. }) => {
                    return Err(Stopped::by_vendor(task));
                }
                Err(CallError::NoPermit { error, .. }) if is_temporary(&error) => sleep(CLUSTER_PAUSE).await,
                Err(CallError::NoPermit { error, .. }) => return Err(Stopped(error.to_string())),
                Err(_) => return Ok(Served::Never),
            }
        }
    }

    fn caller(&self) -> Caller {
        let label = if self.pause.is_some() { "interactive" } else { "bulk" };
        let (vendor, tally) = (self.vendor.clone(), self.tally.clone());
        Caller { vendor, tally, label, calls: Arc::default(), outage: Arc::default() }
    }
}

/// Worth asking again: the cluster was busy, or the machine so slow that the permit came too late.
fn is_temporary(error: &Error) -> bool {
    error.is_temporary() || matches!(error, Error::Unusable(_))
}

impl Stopped {
    fn by_vendor(task: &Task) -> Stopped {
        Stopped(format!("the vendor does not know {}", task.uri))
    }
}

/// How a piece of work ended.
enum Served {
    /// With success.
    After {
        /// The vendor had failed to serve it before.
        outage: bool,
    },
    Never,
}

/// Makes the calls for one piece of work, and counts them.
#[derive(Clone)]
struct Caller {
    vendor: VendorClient,
    tally: Shared,
    label: &'static str,
    calls: Arc<AtomicU32>,
    outage: Arc<AtomicBool>,
}

impl Caller {
    async fn call(&self, task: &Task, within: Option<Duration>) -> Result<Reply, Reply> {
        if self.calls.fetch_add(1, Relaxed) > 0 {
            self.tally.note(|tally| tally.retries += 1);
        }
        let reply = self.vendor.call(task, self.label, within).await;
        match reply.outcome {
            Outcome::Ok => return Ok(reply),
            Outcome::Throttled => self.tally.note(|tally| tally.throttled += 1),
            _ => {
                self.outage.store(true, Relaxed);
                self.tally.note(|tally| tally.failed += 1);
            }
        }
        Err(reply)
    }

    /// Calls if the permit leaves time enough.
    async fn call_with(&self, permit: &Permit, task: &Task) -> Result<Reply, Reply> {
        let within = permit.dispatch_within();
        if within.is_some_and(|left| left < JOURNEY) {
            self.tally.note(|tally| tally.given_back += 1);
            return Err(Reply::NOT_SENT);
        }
        self.call(task, within).await
    }

    fn served(&self) -> Served {
        Served::After { outage: self.outage.load(Relaxed) }
    }
}
