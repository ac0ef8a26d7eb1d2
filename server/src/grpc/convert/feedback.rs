//! What vendors answered: what is to be heeded of it, and what whoever called is told.

use tollgate_limiter::{
    CallOutcome, HoldBack, Label, LimitTold, Pause, Report, Resource, ResourceName, Span, VendorAnswer,
};
use tollgate_proto::v1;

pub use super::reading::Receipt;
use super::{
    Fields, duration,
    permit::{outcome, parse_id},
    reading::Reading,
};
use crate::{grpc::status::Failure, preset::Presets};

/// Checks what the client itself says. What the vendor says is no reason to refuse anything: see `reading.rs`.
pub fn check(
    fields: &mut Fields,
    feedback: &v1::VendorFeedback,
    given: Option<CallOutcome>,
    presets: &Presets,
) {
    if feedback.status == 0 && given.is_none() {
        fields.reject("feedback.status", "is required, unless the outcome is told");
    }
    if !feedback.vendor.is_empty()
        && let Err(problem) = presets.select(&feedback.vendor)
    {
        fields.reject("feedback.vendor", problem);
    }
}

/// Whether there is an answer that can be read.
pub fn is_valid(feedback: &v1::VendorFeedback, presets: &Presets) -> bool {
    let mut fields = Fields::default();
    check(&mut fields, feedback, None, presets);
    fields.finish(Some(())).is_ok()
}

/// What is to be heeded of how a call ended, and what its caller is told of it.
pub struct Understood {
    /// How it ended.
    pub outcome: CallOutcome,
    /// What the vendor said.
    pub answer: VendorAnswer,
    /// Absent if there was no answer.
    pub told: Option<v1::ReportFeedbackResponse>,
}

/// Reads what a call came to.
pub fn understand(
    feedback: Option<&v1::VendorFeedback>,
    given: Option<CallOutcome>,
    receipt: &Receipt<'_>,
) -> Understood {
    let Some(feedback) = feedback else {
        let outcome = given.unwrap_or(CallOutcome::Ok);
        return Understood { outcome, answer: VendorAnswer::default(), told: None };
    };
    let reading = Reading::of(feedback, receipt);
    let outcome = ended(given, feedback.status, &reading);
    let answer = answer(&reading, feedback.status, receipt.jitter);
    let told = v1::ReportFeedbackResponse {
        limited: outcome == CallOutcome::Throttled,
        wait: answer.wait.map(|wait| duration(wait.min(receipt.rules.longest_wait))),
        ignored_headers: reading.ignored_headers(),
    };
    Understood { outcome, answer, told: Some(told) }
}

/// Reads and checks a report.
pub fn report(
    request: &v1::ReportFeedbackRequest,
    receipt: &Receipt<'_>,
) -> Result<(Report, Option<v1::ReportFeedbackResponse>), Failure> {
    let mut fields = Fields::default();
    let resource = fields.name("resource", ResourceName::new(&request.resource));
    let key = fields.name("key", Label::new(&request.key));
    let operation = fields.name("operation", Label::new(&request.operation));
    let consumer = fields.name("consumer", Label::new(&request.consumer));
    let subject = fields.name("subject", Label::new(&request.subject));
    let given = outcome(&mut fields, request.outcome);
    match &request.feedback {
        None if given.is_none() => fields.reject("feedback", "is required, unless the outcome is told"),
        None => {}
        Some(feedback) => check(&mut fields, feedback, given, receipt.presets),
    }
    let called = resource.zip(key).zip(operation).zip(consumer.zip(subject));
    let (((resource, key), operation), (consumer, subject)) = fields.finish(called)?;
    let permit = match request.permit_id.as_str() {
        "" => None,
        id => Some(parse_id(id)?),
    };
    let Understood { outcome, answer, told } = understand(request.feedback.as_ref(), given, receipt);
    Ok((Report { resource, key, permit, outcome, answer, operation, consumer, subject }, told))
}

/// How a call ended: whether it was sent, its client knows; what an answer means, the preset of its vendor; and of a vendor without
/// a preset, the client again.
fn ended(given: Option<CallOutcome>, status: u32, reading: &Reading) -> CallOutcome {
    match given {
        Some(CallOutcome::NotSent) => CallOutcome::NotSent,
        Some(given) if !reading.is_by_preset => given,
        _ if reading.report.limited => CallOutcome::Throttled,
        // About something else than a limit, such as a lock that somebody holds or a bill that is not paid.
        Some(CallOutcome::Throttled) if status == 429 => CallOutcome::ClientError,
        Some(given) => given,
        None => by_status(status),
    }
}

/// How a call ended that no limit has refused. What HTTP does not know is a failure of the server (RFC 9110, section 15).
fn by_status(status: u32) -> CallOutcome {
    match status {
        100..=399 => CallOutcome::Ok,
        400..=499 => CallOutcome::ClientError,
        _ => CallOutcome::ServerError,
    }
}

fn answer(reading: &Reading, status: u32, jitter: u64) -> VendorAnswer {
    let report = &reading.report;
    let nanos = report.retry_after.map(|wait| u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
    let wait = nanos.map(|nanos| Span(nanos).min(HoldBack::LONGEST)).filter(|wait| *wait >= Pause::SHORTEST);
    let jittered = |wait: Span| Span(wait.0 + wait.0 / 10_000 * jitter.min(1_000)).min(HoldBack::LONGEST);
    let reason = format!("{} answered {status}", reading.vendor);
    // The name of a vendor and a status are short, and have no control characters.
    let reason = Label::new(&reason).unwrap_or_default();
    let exhausted = report.exhausted.iter().filter(|_| report.limited).take(Resource::MAX_LIMITS);
    let told = report.standings.iter().take(Resource::MAX_LIMITS).map(|(limit, standing)| LimitTold {
        limit: limit.clone(),
        amount: standing.limit,
        remaining: standing.remaining,
    });
    VendorAnswer {
        wait: wait.map(jittered),
        reason,
        exhausted: exhausted.cloned().collect(),
        limits: told.collect(),
        cost: report.cost,
    }
}
