//! The one table from what goes wrong inside to gRPC statuses. The reasons are part of the public API: they are listed at
//! the head of `permit.proto`, and with each method.

use std::{collections::HashMap, fmt, time::Duration};

use tollgate_limiter::{Rejection, Span, Violation};
use tollgate_proto::v1;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, QuotaViolation, StatusExt};

use super::convert::{Invalid, duration};
use crate::raft::{
    call::{FullQueue, MemberRefusal, Refusal},
    door::OVERLOADED_RETRY_AFTER,
};

/// The domain of every `ErrorInfo`.
pub const DOMAIN: &str = "tollgate";

/// Wrong fields, and bytes of each text about them, in one error: it travels in headers, of which clients take 8 KiB.
const VIOLATIONS_MAX: usize = 8;
const TEXT_BYTES_MAX: usize = 256;
const MESSAGE_BYTES_MAX: usize = 1024;

/// Why a call fails, before it is known whether it is a call of its own or one among many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    code: Code,
    /// For programs.
    reason: &'static str,
    /// For people.
    message: String,
    detail: Detail,
}

/// What a failure says beyond its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Detail {
    None,
    /// The fields that are wrong.
    Fields(Vec<Violation>),
    /// When to try again.
    RetryAfter(Span),
    /// What there is too much of.
    Quota(String),
    /// What too many wait for, and when to try again.
    Queue(String, Span),
}

impl Failure {
    fn new(code: Code, reason: &'static str, problem: impl fmt::Display) -> Failure {
        Failure { code, reason, message: problem.to_string(), detail: Detail::None }
    }

    fn with(self, detail: Detail) -> Failure {
        Failure { detail, ..self }
    }

    /// The same; if something is not there, the message for people says what was looked for.
    pub fn naming(mut self, name: &str) -> Failure {
        if self.code == Code::NotFound {
            self.message = format!("{}: {}", clip(name), self.message);
        }
        self
    }

    /// A reply of a kind that does not belong to the call: a node of another version, or a fault in this one.
    pub fn mismatch(reply: &impl fmt::Debug) -> Failure {
        tracing::error!(?reply, "a reply does not belong to its call");
        Failure::new(Code::Internal, "INTERNAL", "the cluster gave a reply that does not belong to the call")
    }

    /// As the status of a call.
    pub fn into_status(self) -> Status {
        let mut details = ErrorDetails::with_error_info(self.reason, DOMAIN, HashMap::new());
        match self.detail {
            Detail::None => {}
            Detail::Fields(violations) => {
                let told = violations.iter().take(VIOLATIONS_MAX);
                let fields = told.map(|wrong| FieldViolation::new(clip(&wrong.field), clip(&wrong.problem)));
                details.set_bad_request(fields.collect::<Vec<_>>());
            }
            Detail::RetryAfter(span) => {
                details.set_retry_info(Some(Duration::from_nanos(jittered(span).0)));
            }
            Detail::Queue(subject, span) => {
                details.set_retry_info(Some(Duration::from_nanos(jittered(span).0)));
                details.set_quota_failure(vec![QuotaViolation::new(clip(&subject), clip(&self.message))]);
            }
            Detail::Quota(subject) => {
                details.set_quota_failure(vec![QuotaViolation::new(subject, clip(&self.message))]);
            }
        }
        Status::with_error_details(self.code, clip_to(&self.message, MESSAGE_BYTES_MAX), details)
    }

    /// As the error of one call among many.
    pub fn into_call_error(self) -> v1::CallError {
        let (field, retry_after) = match self.detail {
            Detail::Fields(violations) => (violations.first().map(|wrong| clip(&wrong.field)), None),
            Detail::RetryAfter(span) | Detail::Queue(_, span) => (None, Some(duration(jittered(span)))),
            Detail::None | Detail::Quota(_) => (None, None),
        };
        v1::CallError {
            code: self.code.into(),
            message: clip_to(&self.message, MESSAGE_BYTES_MAX),
            reason: self.reason.to_owned(),
            field: field.unwrap_or_default(),
            retry_after,
        }
    }

    /// Too many calls of one connection or stream wait; more would keep its other calls out.
    pub fn too_many_wait(place: &str, max: usize) -> Failure {
        let problem = format_args!(
            "{max} requests of this {place} wait, which is the most: wait for some of them, or open another {place}"
        );
        Failure::new(Code::ResourceExhausted, "OVERLOADED", problem)
            .with(Detail::RetryAfter(OVERLOADED_RETRY_AFTER))
    }

    /// As many large answers wait to be read as may.
    pub fn too_many_answers(max: usize) -> Failure {
        let problem = format_args!("{max} answers of this kind wait for their clients to read them");
        Failure::new(Code::ResourceExhausted, "OVERLOADED", problem)
            .with(Detail::RetryAfter(OVERLOADED_RETRY_AFTER))
    }

    /// The code, as metrics name it.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Whether this is [`Refusal::NoLeader`].
    pub fn is_no_leader(&self) -> bool {
        self.reason == NO_LEADER
    }
}

const NO_LEADER: &str = "NO_LEADER";
const OUTCOME_UNKNOWN: &str = "OUTCOME_UNKNOWN";

impl From<Invalid> for Failure {
    fn from(Invalid(violations): Invalid) -> Failure {
        let texts: Vec<String> =
            violations.iter().take(VIOLATIONS_MAX).map(|wrong| clip(&wrong.to_string())).collect();
        Failure::new(Code::InvalidArgument, "INVALID_FIELD", texts.join("; "))
            .with(Detail::Fields(violations))
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        let failure = |code, reason| Failure::new(code, reason, &refusal);
        match refusal {
            // The router follows leaders; who has none is told so.
            Refusal::NotLeader { .. } | Refusal::NoLeader => failure(Code::Unavailable, NO_LEADER),
            Refusal::Overloaded { retry_after } => {
                failure(Code::ResourceExhausted, "OVERLOADED").with(Detail::RetryAfter(retry_after))
            }
            Refusal::OutcomeUnknown => failure(Code::Unavailable, OUTCOME_UNKNOWN),
            Refusal::ShuttingDown => failure(Code::Unavailable, "SHUTTING_DOWN"),
            Refusal::StorageFull => failure(Code::Unavailable, "STORAGE_FULL"),
            Refusal::DeadlineExceeded => failure(Code::DeadlineExceeded, OUTCOME_UNKNOWN),
            Refusal::QueueFull { ref queue, retry_after, .. } => {
                let subject = match queue {
                    FullQueue::Resource(name) => format!("resource:{name}"),
                    FullQueue::Consumer(name) => format!("consumer:{name}"),
                    FullQueue::Cluster => "cluster".to_owned(),
                };
                failure(Code::ResourceExhausted, "QUEUE_FULL").with(Detail::Queue(subject, retry_after))
            }
        }
    }
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Failure {
        let failure = |code, reason| Failure::new(code, reason, &rejection);
        match &rejection {
            Rejection::ResourceNotFound | Rejection::AlternativeNotFound { .. } => {
                failure(Code::NotFound, "RESOURCE_NOT_FOUND")
            }
            Rejection::ResourceExists => failure(Code::AlreadyExists, "RESOURCE_EXISTS"),
            Rejection::StaleGeneration { .. } => failure(Code::Aborted, "STALE_GENERATION"),
            Rejection::TooManyResources { .. } => failure(Code::ResourceExhausted, "TOO_MANY_RESOURCES")
                .with(Detail::Quota("resources".to_owned())),
            Rejection::TooManyScopeValues { limit, .. } => {
                failure(Code::ResourceExhausted, "TOO_MANY_SCOPE_VALUES")
                    .with(Detail::Quota(format!("limit:{limit}")))
            }
            Rejection::TooManyCoalescedCalls { .. } => {
                failure(Code::ResourceExhausted, "TOO_MANY_COALESCED_CALLS")
                    .with(Detail::Quota("coalesced_calls".to_owned()))
            }
            Rejection::TooManyLeases { .. } => {
                failure(Code::ResourceExhausted, "TOO_MANY_LEASES").with(Detail::Quota("leases".to_owned()))
            }
            Rejection::TooManyCounters { .. } => failure(Code::ResourceExhausted, "TOO_MANY_COUNTERS")
                .with(Detail::Quota("counters".to_owned())),
            Rejection::Invalid(violation) => Invalid(vec![violation.clone()]).into(),
            Rejection::RequestIdReused => failure(Code::AlreadyExists, "REQUEST_ID_REUSED"),
            Rejection::PermitNotFound => failure(Code::NotFound, "PERMIT_NOT_FOUND"),
            Rejection::PermitEnded => failure(Code::FailedPrecondition, "PERMIT_ENDED"),
            Rejection::PermitWithoutLease => failure(Code::FailedPrecondition, "PERMIT_WITHOUT_LEASE"),
            Rejection::KeyDisabled => failure(Code::FailedPrecondition, "KEY_DISABLED"),
        }
    }
}

impl From<MemberRefusal> for Failure {
    fn from(refusal: MemberRefusal) -> Failure {
        let failure = |code, reason| Failure::new(code, reason, &refusal);
        match refusal {
            MemberRefusal::Exists(_) => failure(Code::AlreadyExists, "MEMBER_EXISTS"),
            MemberRefusal::IdWasRemoved(_) => failure(Code::FailedPrecondition, "MEMBER_REMOVED"),
            MemberRefusal::NotFound(_) => failure(Code::NotFound, "MEMBER_NOT_FOUND"),
            MemberRefusal::ChangeInProgress => failure(Code::FailedPrecondition, "CHANGE_IN_PROGRESS"),
            MemberRefusal::LastVoter(_) => failure(Code::FailedPrecondition, "LAST_VOTER"),
            MemberRefusal::NotAVoter(_) => failure(Code::FailedPrecondition, "NOT_A_VOTER"),
            MemberRefusal::TransferTimedOut(_) => failure(Code::Unavailable, "TRANSFER_TIMED_OUT"),
            MemberRefusal::WipedData(_) => failure(Code::FailedPrecondition, "WIPED_DATA"),
        }
    }
}

/// The code's name, as the gRPC specification writes it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Up to twice as long, never shorter: those who were refused together must not come back together.
fn jittered(span: Span) -> Span {
    span + Span(rand::random_range(0..=span.0))
}

fn clip(text: &str) -> String {
    clip_to(text, TEXT_BYTES_MAX)
}

fn clip_to(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &text[..end])
}
