//! What is counted of the leader's answers.

use std::collections::BTreeSet;

use tollgate_limiter::{Answer, CallOutcome, DenialReason, Outcome, ResourceName, Span};

use crate::metrics::{DenialLabels, Metrics, OutcomeLabels, ResourceLabels, WaitLabels};

use super::super::replica::About;

impl Metrics {
    /// Counts the answer to a command that waited for so long.
    pub(super) fn count(&self, answer: &Answer, waited: Span, about: &About) {
        if !waited.is_zero() {
            self.observe_wait(wait_label(answer), waited);
        }
        match (answer, about) {
            (Ok(Outcome::Granted(grant)), _) if grant.replayed => {
                self.replays.inc();
            }
            (Ok(Outcome::Granted(grant)), _) => {
                if let Some(labels) = resource_labels(about, grant.alternative) {
                    self.grants.get_or_create(&labels).inc();
                }
            }
            (Ok(Outcome::Denied(denial)), _) => {
                let Some(ResourceLabels { resource }) = resource_labels(about, denial.alternative) else {
                    return;
                };
                let limit = denial.limit.as_ref().map(ToString::to_string).unwrap_or_default();
                let reason = reason_label(&denial.reason);
                self.denials.get_or_create(&DenialLabels { resource, limit, reason }).inc();
            }
            (Ok(Outcome::Shared(_)), _) => {
                if let Some(labels) = resource_labels(about, 0) {
                    self.results_shared.get_or_create(&labels).inc();
                }
            }
            (Ok(Outcome::Released(_)), About::Release(outcome)) => {
                let outcome = outcome_label(*outcome);
                self.releases.get_or_create(&OutcomeLabels { outcome }).inc();
            }
            _ => {}
        }
    }

    /// Counts a request for which the queue had no room.
    pub(super) fn count_queue_full(&self, about: &About) {
        if let Some(labels) = resource_labels(about, 0) {
            self.queue_full.get_or_create(&labels).inc();
        }
    }

    /// Tells how many wait for each resource, and of those that were `told` before that nobody does any more. Returns those
    /// that were told now.
    pub(super) fn set_waiting<'a>(
        &self,
        lengths: impl Iterator<Item = (&'a ResourceName, u64)>,
        told: &BTreeSet<ResourceName>,
    ) -> BTreeSet<ResourceName> {
        let labels = |resource: &ResourceName| ResourceLabels { resource: resource.to_string() };
        let mut awaited = BTreeSet::new();
        for (resource, length) in lengths {
            let length = i64::try_from(length).unwrap_or(i64::MAX);
            self.waiting.get_or_create(&labels(resource)).set(length);
            awaited.insert(resource.clone());
        }
        for resource in told.difference(&awaited) {
            self.waiting.remove(&labels(resource));
        }
        awaited
    }

    /// Notes how long a wait took that has ended.
    pub(super) fn observe_wait(&self, outcome: &'static str, waited: Span) {
        self.wait_seconds.get_or_create(&WaitLabels { outcome }).observe(waited.as_nanos() as f64 / 1e9);
    }
}

fn resource_labels(about: &About, alternative: u32) -> Option<ResourceLabels> {
    about.resource(alternative).map(|resource| ResourceLabels { resource: resource.to_string() })
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
