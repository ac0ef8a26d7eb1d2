//! What a fleet of workers saw that waits for the permits of one resource, and what must be true of it.
//!
//! The evidence is that of the clients alone: when each asked, how each request ended and when that was told. So whatever
//! is said of the moment of a grant allows for its journey: it lies between the request and its answer.

mod judge;

use std::{ops::Range, time::Duration};

pub use self::judge::judge;
pub use tollgate_client::Priority;

/// How long after an outage the last have come to the new leader: clients wait for up to half a second between tries, and
/// machines are busy then.
const RETURNED_WITHIN: Duration = Duration::from_secs(3);

/// One run. All times are since its beginning, on one monotonic clock.
#[derive(Clone, Debug)]
pub struct Run {
    /// What the resource allows.
    pub limits: Limits,
    /// By consumer.
    pub weights: Vec<u64>,
    /// In any order.
    pub requests: Vec<Request>,
    /// From when to when many requests of each consumer and priority waited all the time.
    pub busy: Range<Duration>,
    /// When the leader was killed.
    pub killed_at: Option<Duration>,
    /// Slots that were free when everybody had left and all leases had ended.
    pub free_at_the_end: u64,
}

/// What the resource allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// At a time.
    pub slots: u64,
    /// Saved up at most.
    pub capacity: u64,
    /// Added each second.
    pub per_second: u64,
}

/// One request of one worker.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whose: position among the weights.
    pub consumer: usize,
    /// How urgent.
    pub priority: Priority,
    /// When it was sent.
    pub asked_at: Duration,
    /// When it ended; for a grant when it was told.
    pub ended_at: Duration,
    /// How.
    pub end: End,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With a permit.
    Granted(Granted),
    /// With a denial, when its patience was over.
    Denied,
    /// Nobody waited for it any more.
    Cancelled,
    /// In none of these ways, which must not be.
    Failed(String),
    /// It did not.
    Never,
}

/// A permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Which slot.
    pub slot: u32,
    /// The fencing generation, which counts all grants of the cluster.
    pub generation: u64,
    /// When its holder stopped using it: by a release that was sent then, or by a crash.
    pub held_until: Duration,
}

impl Run {
    /// The permits, as they were told.
    pub fn grants(&self) -> Vec<(&Request, Granted)> {
        let mut grants: Vec<_> = self
            .requests
            .iter()
            .filter_map(|request| match request.end {
                End::Granted(granted) => Some((request, granted)),
                _ => None,
            })
            .collect();
        grants.sort_by_key(|(request, _)| request.ended_at);
        grants
    }

    /// The longest time without a grant after the leader was killed: the election, as the fleet felt it.
    pub fn outage(&self) -> Range<Duration> {
        let Some(killed_at) = self.killed_at else { return Duration::ZERO..Duration::ZERO };
        let grants = self.grants();
        let told = grants.windows(2).map(|pair| pair[0].0.ended_at..pair[1].0.ended_at);
        let longest = told.filter(|gap| gap.end >= killed_at).max_by_key(|gap| gap.end - gap.start);
        longest.unwrap_or(killed_at..killed_at)
    }

    /// Grants by the second in which they were told.
    pub fn by_second(&self) -> Vec<u64> {
        let mut seconds = Vec::new();
        for (request, _) in self.grants() {
            let second = request.ended_at.as_secs() as usize;
            seconds.resize(seconds.len().max(second + 1), 0);
            seconds[second] += 1;
        }
        seconds
    }

    /// Of what the bucket let through while everybody waited, the part that was granted. From one grant to another, when it is
    /// empty; during the outage it filled up.
    pub fn used(&self) -> f64 {
        let told = self.grants().into_iter().map(|(request, _)| request.ended_at);
        let told: Vec<_> = told.filter(|at| self.busy.contains(at)).collect();
        let (Some(first), Some(last)) = (told.first(), told.last()) else { return 0.0 };
        let outage = self.outage();
        let outage = outage.end.clamp(*first, *last) - outage.start.clamp(*first, *last);
        let refill = |time: Duration| time.as_secs_f64() * self.limits.per_second as f64;
        let after_outage = refill(outage).min(self.limits.capacity as f64);
        (told.len() - 1) as f64 / (refill(*last - *first - outage) + after_outage)
    }

    /// Grants of high priority by consumer while all of them waited: not while they found their way to another leader.
    pub fn shares(&self) -> Vec<u64> {
        let mut shares = vec![0; self.weights.len()];
        let outage = self.outage();
        let on_the_way = self.killed_at.map(|killed_at| killed_at..outage.end + RETURNED_WITHIN);
        for (request, _) in self.grants() {
            let all_wait = self.busy.contains(&request.ended_at)
                && on_the_way.as_ref().is_none_or(|on_the_way| !on_the_way.contains(&request.ended_at));
            if request.priority == Priority::High && all_wait {
                shares[request.consumer] += 1;
            }
        }
        shares
    }
}
