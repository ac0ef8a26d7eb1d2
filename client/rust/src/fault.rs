//! The one table from what a node or the network says to what this client does about it.

use std::{error, iter, time::Duration};

use tollgate_proto::v1;
use tonic::{Code, ConnectError, Status};
use tonic_types::{FieldViolation, StatusExt};

use crate::{
    duration::from_wire,
    error::{Error, Violation},
};

/// A failed try, whether it is a status of its own or one error among many in a batch.
#[derive(Clone)]
pub(crate) struct Fault {
    status: Status,
    reason: String,
    violations: Vec<Violation>,
    retry_after: Option<Duration>,
    /// Why no connection could be made.
    connect_error: Option<String>,
}

/// What to do about it.
pub(crate) enum Verdict {
    /// Nothing was changed; another try, after this wait if there is one, may succeed.
    Unsent(Option<Duration>),
    /// It may have taken effect: only a call that is safe to repeat is tried again.
    Unknown,
    /// Another try would end in the same way.
    Final,
}

impl Fault {
    /// What the node at `address` said, or what kept this client from hearing it.
    pub(crate) fn of_node(address: &str, status: Status) -> Fault {
        let details = status.get_error_details();
        let wrong_fields = details.bad_request().into_iter().flat_map(|bad| &bad.field_violations);
        let violation = |wrong: &FieldViolation| Violation {
            field: wrong.field.clone(),
            description: wrong.description.clone(),
        };
        Fault {
            reason: details.error_info().map(|info| info.reason.clone()).unwrap_or_default(),
            violations: wrong_fields.map(violation).collect(),
            retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
            connect_error: connect_error(&status)
                .map(|cause| format!("cannot connect to {address}: {cause}")),
            status,
        }
    }

    /// Whether a node said it, not what lies between.
    pub(crate) fn is_spoken(&self) -> bool {
        !self.reason.is_empty()
    }

    /// Whether the node has nobody to ask: no other call would fare better there.
    pub(crate) fn is_without_leader(&self) -> bool {
        self.reason == "NO_LEADER"
    }

    pub(crate) fn verdict(&self) -> Verdict {
        match (self.reason.as_str(), self.status.code()) {
            ("NO_LEADER" | "SHUTTING_DOWN" | "STORAGE_FULL", _) => Verdict::Unsent(None),
            ("OVERLOADED" | "QUEUE_FULL", _) => Verdict::Unsent(self.retry_after),
            ("OUTCOME_UNKNOWN", _) => Verdict::Unknown,
            // Without a reason it is not the server that speaks, but what lies between: a connection that was refused
            // or that broke, or a deadline. Code by code as tonic and hyper translate those.
            ("", _) if self.connect_error.is_some() => Verdict::Unsent(None),
            // HTTP/2's ENHANCE_YOUR_CALM ended the connection, and with it calls that had nothing to do with it.
            ("", Code::ResourceExhausted) if error::Error::source(&self.status).is_some() => Verdict::Unknown,
            (
                "",
                Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Internal | Code::Unknown,
            ) => Verdict::Unknown,
            _ => Verdict::Final,
        }
    }

    /// What the caller is told when this is the end. `certain`: no try so far can have taken effect.
    pub(crate) fn into_error(self, certain: bool) -> Error {
        let message = self.connect_error.clone().unwrap_or_else(|| self.status.message().to_owned());
        match self.verdict() {
            Verdict::Final => self.into_final_error(),
            _ if !certain => Error::OutcomeUnknown { request_id: None, message },
            Verdict::Unsent(Some(retry_after)) if self.reason == "QUEUE_FULL" => {
                Error::QueueFull { retry_after, message }
            }
            Verdict::Unsent(Some(retry_after)) => Error::Overloaded { retry_after, message },
            Verdict::Unsent(None) | Verdict::Unknown => Error::Unavailable { reason: self.reason, message },
        }
    }

    fn into_final_error(self) -> Error {
        let Fault { status, reason, violations, .. } = self;
        let message = status.message().to_owned();
        match status.code() {
            Code::InvalidArgument => Error::Invalid { message, violations },
            Code::NotFound => Error::NotFound { reason, message },
            Code::FailedPrecondition if reason == "PERMIT_ENDED" => Error::PermitEnded { message },
            Code::FailedPrecondition | Code::AlreadyExists | Code::Aborted => {
                Error::Conflict { reason, message }
            }
            _ => Error::Other(Box::new(status)),
        }
    }
}

impl From<v1::CallError> for Fault {
    fn from(error: v1::CallError) -> Fault {
        let violation = Violation { field: error.field, description: error.message.clone() };
        Fault {
            status: Status::new(Code::from_i32(error.code), error.message),
            reason: error.reason,
            violations: if violation.field.is_empty() { Vec::new() } else { vec![violation] },
            retry_after: error.retry_after.map(from_wire),
            connect_error: None,
        }
    }
}

/// Why no connection could be made, so that nothing was sent; none if there was one.
fn connect_error(status: &Status) -> Option<String> {
    let mut causes = iter::successors(error::Error::source(status), |cause| cause.source());
    causes.find(|cause| cause.is::<ConnectError>())?;
    // The last cause is the system's: connection refused, no such host.
    Some(causes.last().map_or_else(|| status.message().to_owned(), ToString::to_string))
}
