//! What vendors answered: read with the preset of the vendor that it names.

use jiff::Timestamp;
use tollgate_limiter::{Called, Command, HoldBack, Label, Pause, ResourceName, Span, WallTime};
use tollgate_proto::v1;
use tollgate_vendors::{Answer, Report};

use super::{Fields, Invalid, duration};
use crate::preset::Presets;

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

/// Reads and checks a report: what was called, and with what answer.
pub fn reported(request: &v1::ReportFeedbackRequest) -> Result<(Called, &v1::VendorFeedback), Invalid> {
    let mut fields = Fields::default();
    let resource = fields.name("resource", ResourceName::new(&request.resource));
    let key = fields.name("key", Label::new(&request.key));
    match &request.feedback {
        None => fields.reject("feedback", "is required"),
        Some(feedback) => {
            check(&mut fields, feedback);
            if feedback.vendor.is_empty() {
                fields.reject("feedback.vendor", "is required: the name of a preset, such as hubspot");
            }
        }
    }
    let called = resource.zip(key).map(|(resource, key)| Called::Of { resource, key });
    fields.finish(called.zip(request.feedback.as_ref()))
}

/// What the answer says, by its vendor's profile. `None`: it names no vendor.
pub fn read(feedback: &v1::VendorFeedback, received_at: WallTime) -> Option<Report> {
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

/// The order to wait, if the answer demands it. `share` is what is added to the time, 0 to 1,000 thousandths of a tenth of it:
/// several fleets that were refused together shall not come back together.
pub fn hold_back(
    called: Called,
    feedback: &v1::VendorFeedback,
    report: &Report,
    share: u64,
) -> Option<Command> {
    let nanos = u64::try_from(report.retry_after?.as_nanos()).unwrap_or(u64::MAX);
    let wait = Span(nanos).min(HoldBack::LONGEST);
    if wait < Pause::SHORTEST {
        return None;
    }
    let wait = Span(wait.0 + wait.0 / 10_000 * share.min(1_000)).min(HoldBack::LONGEST);
    let reason = format!("{} answered {}", feedback.vendor, feedback.status);
    // The name of a preset and a status are short, and have no control characters.
    let reason = Label::new(&reason).unwrap_or_default();
    Some(Command::HoldBack(HoldBack { called, wait, reason }))
}

/// What was understood.
pub fn understood(report: &Report, order: Option<&Command>) -> v1::ReportFeedbackResponse {
    let wait = match order {
        Some(Command::HoldBack(order)) => Some(duration(order.wait)),
        _ => None,
    };
    let ignored_headers = report.ignored.iter().map(|ignored| ignored.header.clone()).collect();
    v1::ReportFeedbackResponse { limited: report.limited, wait, ignored_headers }
}
