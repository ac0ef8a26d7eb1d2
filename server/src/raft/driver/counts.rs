//! What is counted of the leader's answers: by resource, as long as there is that resource.

use std::collections::BTreeSet;

use foldhash::{HashMap, HashMapExt};
use prometheus_client::metrics::counter::Counter;
use tollgate_limiter::{Answer, CallOutcome, Denial, DenialReason, LimitName, Outcome, ResourceName, Span};

use crate::metrics::{DenialLabels, Metrics, OutcomeLabels, ResourceLabels, WaitLabels};

use super::super::replica::About;

/// The counters of resources, at hand: to find one among the metrics takes a lock, and a text.
pub(super) struct Counts {
    metrics: Metrics,
    by_resource: HashMap<ResourceName, OfResource>,
    // The resources that were said to be waited for.
    awaited: BTreeSet<ResourceName>,
}

/// Those that were needed so far.
#[derive(Default)]
struct OfResource {
    grants: Option<Counter>,
    results_shared: Option<Counter>,
    queue_full: Option<Counter>,
    denials: Vec<OfDenials>,
}

struct OfDenials {
    limit: Option<LimitName>,
    reason: &'static str,
    counter: Counter,
}

impl Counts {
    pub fn new(metrics: Metrics) -> Counts {
        Counts { metrics, by_resource: HashMap::new(), awaited: BTreeSet::new() }
    }

    /// Counts the answer to a command that waited for so long.
    pub fn count(&mut self, answer: &Answer, waited: Span, about: &About) {
        if !waited.is_zero() {
            self.observe_wait(wait_label(answer), waited);
        }
        match (answer, about) {
            (Ok(Outcome::Granted(grant)), _) if grant.replayed => {
                self.metrics.replays.inc();
            }
            (Ok(Outcome::Granted(grant)), _) => {
                if let Some((of, metrics, resource)) = self.of(about, grant.alternative) {
                    let counter = || metrics.grants.get_or_create_owned(&labels(resource));
                    of.grants.get_or_insert_with(counter).inc();
                }
            }
            (Ok(Outcome::Denied(denial)), _) => self.count_denial(denial, about),
            (Ok(Outcome::Shared(_)), _) => {
                if let Some((of, metrics, resource)) = self.of(about, 0) {
                    let counter = || metrics.results_shared.get_or_create_owned(&labels(resource));
                    of.results_shared.get_or_insert_with(counter).inc();
                }
            }
            (Ok(Outcome::Released(_)), About::Release(outcome)) => {
                let outcome = outcome_label(*outcome);
                self.metrics.releases.get_or_create(&OutcomeLabels { outcome }).inc();
            }
            _ => {}
        }
    }

    fn count_denial(&mut self, denial: &Denial, about: &About) {
        let Some((of, metrics, resource)) = self.of(about, denial.alternative) else { return };
        let (limit, reason) = (&denial.limit, reason_label(&denial.reason));
        let mut known = of.denials.iter();
        let counter = match known.find(|known| (&known.limit, known.reason) == (limit, reason)) {
            Some(known) => &known.counter,
            None => {
                let counter = metrics.denials.get_or_create_owned(&denial_labels(resource, limit, reason));
                of.denials.push(OfDenials { limit: limit.clone(), reason, counter });
                &of.denials[of.denials.len() - 1].counter
            }
        };
        counter.inc();
    }

    /// Counts a request for which the queue had no room.
    pub fn count_queue_full(&mut self, about: &About) {
        if let Some((of, metrics, resource)) = self.of(about, 0) {
            let counter = || metrics.queue_full.get_or_create_owned(&labels(resource));
            of.queue_full.get_or_insert_with(counter).inc();
        }
    }

    /// The counters of the resource that an answer is about.
    fn of<'a>(
        &'a mut self,
        about: &'a About,
        alternative: u32,
    ) -> Option<(&'a mut OfResource, &'a Metrics, &'a ResourceName)> {
        let resource = about.resource(alternative)?;
        if !self.by_resource.contains_key(resource) {
            self.by_resource.insert(resource.clone(), OfResource::default());
        }
        Some((self.by_resource.get_mut(resource)?, &self.metrics, resource))
    }

    /// The resource is gone: whoever makes and removes resources all the time leaves nothing behind.
    pub fn forget(&mut self, resource: &ResourceName) {
        let Some(of) = self.by_resource.remove(resource) else { return };
        let (metrics, of_all) = (&self.metrics, labels(resource));
        for family in [&metrics.grants, &metrics.results_shared, &metrics.queue_full] {
            family.remove(&of_all);
        }
        for OfDenials { limit, reason, .. } in of.denials {
            metrics.denials.remove(&denial_labels(resource, &limit, reason));
        }
    }

    /// The state was replaced, and nobody knows which resources are gone.
    pub fn forget_all(&mut self) {
        let all: Vec<_> = self.by_resource.keys().cloned().collect();
        all.iter().for_each(|resource| self.forget(resource));
    }

    /// Tells how many wait for each resource, and of those that were told before that nobody does any more.
    pub fn set_waiting<'a>(&mut self, lengths: impl Iterator<Item = (&'a ResourceName, u64)>) {
        let mut awaited = BTreeSet::new();
        for (resource, length) in lengths {
            let length = i64::try_from(length).unwrap_or(i64::MAX);
            self.metrics.waiting.get_or_create(&labels(resource)).set(length);
            awaited.insert(resource.clone());
        }
        for resource in self.awaited.difference(&awaited) {
            self.metrics.waiting.remove(&labels(resource));
        }
        self.awaited = awaited;
    }

    /// Notes how long a wait took that has ended.
    pub fn observe_wait(&self, outcome: &'static str, waited: Span) {
        let seconds = waited.as_nanos() as f64 / 1e9;
        self.metrics.wait_seconds.get_or_create(&WaitLabels { outcome }).observe(seconds);
    }
}

fn labels(resource: &ResourceName) -> ResourceLabels {
    ResourceLabels { resource: resource.to_string() }
}

fn denial_labels(resource: &ResourceName, limit: &Option<LimitName>, reason: &'static str) -> DenialLabels {
    let limit = limit.as_ref().map(ToString::to_string).unwrap_or_default();
    DenialLabels { resource: resource.to_string(), limit, reason }
}

fn wait_label(answer: &Answer) -> &'static str {
    match answer {
        Ok(Outcome::Denied(_)) => "denied",
        Ok(Outcome::Shared(_)) => "shared",
        Ok(_) => "granted",
        Err(_) => "rejected",
    }
}

fn reason_label(reason: &DenialReason) -> &'static str {
    match reason {
        DenialReason::LimitExhausted => "limit_exhausted",
        DenialReason::Paused { .. } => "paused",
        DenialReason::KeyUnavailable => "key_unavailable",
        DenialReason::BudgetExhausted { .. } => "budget_exhausted",
        DenialReason::OthersWait => "others_wait",
        DenialReason::CallUnderWay => "call_under_way",
        DenialReason::CircuitOpen { .. } => "circuit_open",
        DenialReason::Paced { .. } => "paced",
    }
}

fn outcome_label(outcome: CallOutcome) -> &'static str {
    match outcome {
        CallOutcome::Ok => "ok",
        CallOutcome::Throttled => "throttled",
        CallOutcome::ClientError => "client_error",
        CallOutcome::ServerError => "server_error",
        CallOutcome::NotSent => "not_sent",
        CallOutcome::Timeout => "timeout",
        CallOutcome::Unknown => "unknown",
    }
}
