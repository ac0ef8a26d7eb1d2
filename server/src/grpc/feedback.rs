//! What vendors answered, and what becomes of it.

use std::time::Duration;

use tollgate_limiter::{Called, Command, Label, Outcome, ResourceName};
use tollgate_proto::v1;
use tracing::info;

use super::{
    convert::{decision, feedback},
    status::Failure,
};
use crate::{
    clock,
    metrics::FeedbackLabels,
    node::Node,
    preset::Presets,
    raft::call::{Call, Query, Reply},
};

/// Takes a report.
pub(super) async fn report(
    node: &Node,
    mut request: v1::ReportFeedbackRequest,
    timeout: Duration,
) -> Result<v1::ReportFeedbackResponse, Failure> {
    let resource = ResourceName::new(&request.resource).ok();
    let called = resource.map(|resource| Called::Of { resource, key: Label::default() });
    name_vendor(node, called, request.feedback.as_mut(), timeout).await;
    let (report, told) = feedback::report(&request, clock::wall(), jitter())?;
    if let Some(feedback) = &request.feedback {
        count(node, feedback);
    }
    let answer = decision::outcome(node.router.call(Command::Report(report).into(), timeout).await);
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

/// Names the vendor of an answer that does not, by its resource, if this node knows it.
pub(super) async fn name_vendor(
    node: &Node,
    called: Option<Called>,
    feedback: Option<&mut v1::VendorFeedback>,
    timeout: Duration,
) {
    let unnamed = feedback.filter(|feedback| feedback.vendor.is_empty());
    let Some(feedback) = unnamed.filter(|feedback| feedback::is_valid(feedback)) else { return };
    let Some(called) = called else { return };
    let reply = node.router.call_here(Call::Query(Query::VendorHere(called)), timeout).await;
    if let Ok(Reply::Vendor(vendor)) = reply
        && Presets::embedded().select(vendor.as_str()).is_ok()
    {
        feedback.vendor = vendor.to_string();
    }
}

/// How much longer to wait than a vendor says; see [`feedback::understand`].
pub(super) fn jitter() -> u64 {
    rand::random_range(0..=1_000)
}

/// In metrics.
pub(super) fn count(node: &Node, feedback: &v1::VendorFeedback) {
    node.metrics.feedback.get_or_create(&FeedbackLabels { status: feedback.status }).inc();
}
