//! What vendors answered, and what becomes of it.

use std::time::Duration;

use tollgate_limiter::Called;
use tollgate_proto::v1;
use tracing::info;

use super::{
    convert::{
        decision,
        feedback::{hold_back, read, reported, understood},
        permit::parse_id,
    },
    status::Failure,
};
use crate::{clock, metrics::FeedbackLabels, node::Node};

/// Takes a report.
pub(super) async fn report(
    node: &Node,
    request: v1::ReportFeedbackRequest,
    timeout: Duration,
) -> Result<v1::ReportFeedbackResponse, Failure> {
    let (called, feedback) = reported(&request)?;
    count(node, feedback);
    let Some(report) = read(feedback, clock::wall()) else { return Ok(Default::default()) };
    let order = hold_back(called, feedback, &report, rand::random_range(0..=1_000));
    if let Some(order) = &order {
        let answer = decision::outcome(node.router.call(order.clone().into(), timeout).await);
        answer.map_err(|failure| failure.naming(&request.resource))?;
        info!(resource = request.resource, key = request.key, feedback.status, "a vendor says to wait");
    }
    Ok(understood(&report, order.as_ref()))
}

/// Takes what comes with a release, before the permit is forgotten. That nobody could be told does not keep it from being
/// released: whoever calls next is told to wait as well.
pub(super) async fn with_release(
    node: &Node,
    id: &str,
    feedback: &v1::VendorFeedback,
    timeout: Duration,
) -> Option<v1::ReportFeedbackResponse> {
    let (permit, report) = (parse_id(id).ok()?, read(feedback, clock::wall())?);
    let mut order = hold_back(Called::With(permit), feedback, &report, rand::random_range(0..=1_000));
    if let Some(hold_back) = &order {
        match decision::outcome(node.router.call(hold_back.clone().into(), timeout).await) {
            Ok(_) => info!(permit = id, feedback.status, "a vendor says to wait"),
            // Nobody is held back, so nobody is told that anybody is.
            Err(_) => order = None,
        }
    }
    Some(understood(&report, order.as_ref()))
}

/// In metrics.
pub(super) fn count(node: &Node, feedback: &v1::VendorFeedback) {
    node.metrics.feedback.get_or_create(&FeedbackLabels { status: feedback.status }).inc();
}
