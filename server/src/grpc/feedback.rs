//! What vendors answered, and what becomes of it.

use std::time::Duration;

use tollgate_limiter::{Called, Command, FeedbackRules, Label, Outcome, ResourceName};
use tollgate_proto::v1;
use tracing::{info, warn};

use super::{
    convert::{
        decision,
        feedback::{self, Receipt},
    },
    status::Failure,
};
use crate::{
    clock,
    metrics::FeedbackLabels,
    node::Node,
    raft::call::{Call, Query, Reply},
};

/// Takes a report.
pub(super) async fn report(
    node: &Node,
    request: v1::ReportFeedbackRequest,
    timeout: Duration,
) -> Result<v1::ReportFeedbackResponse, Failure> {
    let resource = ResourceName::new(&request.resource).ok();
    let called = resource.map(|resource| Called::Of { resource, key: Label::default() });
    let receipt = receipt(node, called, request.feedback.as_ref(), timeout).await;
    let (report, told) = feedback::report(&request, &receipt)?;
    if let Some(feedback) = &request.feedback {
        count(node, feedback.status);
    }
    let answer = decision::outcome(node.router.call(Command::from(report).into(), timeout).await);
    match answer.map_err(|failure| failure.naming(&request.resource))? {
        Outcome::Reported(_) => {}
        other => return Err(Failure::mismatch(&other)),
    }
    let told = told.unwrap_or_default();
    if told.wait.is_some() {
        info!(resource = request.resource, key = request.key, "a vendor says to wait");
    }
    Ok(told)
}

/// What is known beside an answer: how its resource heeds answers, if this node knows.
pub(super) async fn receipt<'n>(
    node: &'n Node,
    called: Option<Called>,
    feedback: Option<&v1::VendorFeedback>,
    timeout: Duration,
) -> Receipt<'n> {
    let presets = &*node.presets;
    let is_valid = feedback.is_some_and(|feedback| feedback::is_valid(feedback, presets));
    let rules = match called.filter(|_| is_valid) {
        Some(called) => rules(node, called, timeout).await,
        None => FeedbackRules::default(),
    };
    let vendor = &rules.vendor;
    if !vendor.is_empty() && presets.select(vendor.as_str()).is_err() && node.strangers.meet(vendor) {
        warn!(%vendor, "this node has no preset of the vendor, and reads statuses and Retry-After alone: add it to `presets`");
    }
    Receipt { presets, received_at: clock::wall(), rules, jitter: rand::random_range(0..=1_000) }
}

async fn rules(node: &Node, called: Called, timeout: Duration) -> FeedbackRules {
    match node.router.call_here(Call::Query(Query::FeedbackRulesHere(called)), timeout).await {
        Ok(Reply::FeedbackRules(rules)) => *rules,
        _ => FeedbackRules::default(),
    }
}

/// In metrics. Statuses that HTTP does not know are counted together, so that nobody can make up any number of series.
pub(super) fn count(node: &Node, status: u32) {
    let status = Some(status).filter(|status| (100..=599).contains(status)).unwrap_or(0);
    node.metrics.feedback.get_or_create(&FeedbackLabels { status }).inc();
}
