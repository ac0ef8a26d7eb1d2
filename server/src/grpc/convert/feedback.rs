//! What vendors answered: read with the preset of the vendor that it names.

use jiff::Timestamp;
use tollgate_limiter::{
    CallOutcome, HoldBack, Label, LimitTold, Pause, Report, Resource, ResourceName, Span, VendorAnswer,
    WallTime,
};
use tollgate_proto::v1;
use tollgate_vendors::Answer;

use super::{
    Fields, duration,
    permit::{outcome, parse_id},
};
use crate::{grpc::status::Failure, preset::Presets};

const HEADERS_MAX: usize = 32;
const HEADERS_BYTES_MAX: usize = 4096;
const ERROR_CODE_BYTES_MAX: usize = 200;
const BODY_BYTES_MAX: usize = 8 << 10;

/// Checks it, without reading the headers: what they say is the vendor's business.
pub fn check(fields: &mut Fields, feedback: &v1::VendorFeedback) {
    fields.within("feedback.status", feedback.status.into(), 100..=599);
    let bytes: usize = feedback.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if feedback.headers.len() > HEADERS_MAX || bytes > HEADERS_BYTES_MAX {
        let problem = format_args!(
            "has {} headers of {bytes} bytes, at most {HEADERS_MAX} of {HEADERS_BYTES_MAX} bytes in all are allowed",
            feedback.headers.len(),
        );
        fields.reject("feedback.headers", problem);
    }
    if feedback.error_code.len() > ERROR_CODE_BYTES_MAX {
        let problem = format_args!(
            "is {} bytes long, at most {ERROR_CODE_BYTES_MAX} are allowed",
            feedback.error_code.len()
        );
        fields.reject("feedback.error_code", problem);
    }
    if feedback.body.len() > BODY_BYTES_MAX {
        let problem =
            format_args!("is {} bytes long, at most {BODY_BYTES_MAX} are allowed", feedback.body.len());
        fields.reject("feedback.body", problem);
    }
    if !feedback.vendor.is_empty()
        && let Err(problem) = Presets::embedded().select(&feedback.vendor)
    {
        fields.reject("feedback.vendor", problem);
    }
}

/// Whether an answer is as it must be.
pub fn is_valid(feedback: &v1::VendorFeedback) -> bool {
    let mut fields = Fields::default();
    check(&mut fields, feedback);
    fields.finish(Some(())).is_ok()
}

/// What is to be heeded of how a call ended, and what its caller is told of it.
pub struct Understood {
    /// How it ended.
    pub outcome: CallOutcome,
    /// What the vendor said; nothing if nobody reads it.
    pub answer: VendorAnswer,
    /// Absent if nobody reads it.
    pub told: Option<v1::ReportFeedbackResponse>,
}

/// Reads what a call came to. What the client says of its outcome counts, unless the vendor's preset knows the answer for a
/// refusal. `share` is what is added to the time that the vendor wants, 0 to 1,000 thousandths of a tenth of it: several fleets that
/// were refused together shall not come back together.
pub fn understand(
    feedback: Option<&v1::VendorFeedback>,
    given: Option<CallOutcome>,
    received_at: WallTime,
    share: u64,
) -> Understood {
    let report = feedback.and_then(|feedback| Some((feedback, read(feedback, received_at)?)));
    let is_refused = report.as_ref().is_some_and(|(_, report)| report.limited);
    let outcome = match given {
        Some(CallOutcome::NotSent) => CallOutcome::NotSent,
        _ if is_refused => CallOutcome::Throttled,
        Some(given) => given,
        None => feedback.map_or(CallOutcome::Ok, |feedback| by_status(feedback.status)),
    };
    let Some((feedback, report)) = report else {
        return Understood { outcome, answer: VendorAnswer::default(), told: None };
    };
    let answer = answer(feedback, &report, share);
    let told = v1::ReportFeedbackResponse {
        limited: report.limited,
        wait: answer.wait.map(duration),
        ignored_headers: report.ignored.iter().map(|ignored| ignored.header.clone()).collect(),
    };
    Understood { outcome, answer, told: Some(told) }
}

/// Reads and checks a report.
pub fn report(
    request: &v1::ReportFeedbackRequest,
    received_at: WallTime,
    share: u64,
) -> Result<(Report, Option<v1::ReportFeedbackResponse>), Failure> {
    let mut fields = Fields::default();
    let resource = fields.name("resource", ResourceName::new(&request.resource));
    let key = fields.name("key", Label::new(&request.key));
    let given = outcome(&mut fields, request.outcome);
    match &request.feedback {
        None if given.is_none() => fields.reject("feedback", "is required, unless the outcome is told"),
        None => {}
        Some(feedback) => {
            check(&mut fields, feedback);
        }
    }
    let (resource, key) = fields.finish(resource.zip(key))?;
    let permit = match request.permit_id.as_str() {
        "" => None,
        id => Some(parse_id(id)?),
    };
    let Understood { outcome, answer, told } =
        understand(request.feedback.as_ref(), given, received_at, share);
    Ok((Report { resource, key, permit, outcome, answer }, told))
}

/// How a call ended without anybody reading the answer.
fn by_status(status: u32) -> CallOutcome {
    match status {
        429 => CallOutcome::Throttled,
        400..=499 => CallOutcome::ClientError,
        500.. => CallOutcome::ServerError,
        _ => CallOutcome::Ok,
    }
}

/// What the answer says, by its vendor's profile. `None`: it names no vendor.
fn read(feedback: &v1::VendorFeedback, received_at: WallTime) -> Option<tollgate_vendors::Report> {
    if feedback.vendor.is_empty() {
        return None;
    }
    let (preset, _) = Presets::embedded().select(&feedback.vendor).ok()?;
    let headers: Vec<_> =
        feedback.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    // A status beyond any is refused before.
    let status = u16::try_from(feedback.status).unwrap_or_default();
    let code = match feedback.error_code.as_str() {
        "" => preset.code_in(&feedback.body),
        given => given.to_owned(),
    };
    let answer = Answer { status, headers: &headers, code: &code };
    let received_at = Timestamp::from_nanosecond(i128::from(received_at.0)).ok()?;
    Some(preset.profile.read(&answer, received_at))
}

fn answer(feedback: &v1::VendorFeedback, report: &tollgate_vendors::Report, share: u64) -> VendorAnswer {
    let nanos = report.retry_after.map(|wait| u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
    let wait = nanos.map(|nanos| Span(nanos).min(HoldBack::LONGEST)).filter(|wait| *wait >= Pause::SHORTEST);
    let jittered = |wait: Span| Span(wait.0 + wait.0 / 10_000 * share.min(1_000)).min(HoldBack::LONGEST);
    let reason = format!("{} answered {}", feedback.vendor, feedback.status);
    // The name of a preset and a status are short, and have no control characters.
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
    }
}
