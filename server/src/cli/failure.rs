//! What ends a command: a message that says what to do, and an exit code that scripts can tell apart.

use std::process::ExitCode;

use tollgate_client::Error;

/// Why a command did not do what it should.
#[derive(Debug)]
pub struct Failure {
    code: Code,
    message: String,
    advice: Option<&'static str>,
}

/// What scripts can tell apart; the help of `tollgate` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Anything that has no code of its own.
    Error = 1,
    /// Nothing was changed: correct the request.
    Usage = 2,
    /// Ask again later.
    Denied = 3,
    /// Try again.
    Unavailable = 4,
    /// No such thing.
    NotFound = 5,
    /// What there is stands in the way.
    Conflict = 6,
}

impl Failure {
    /// A failure with exit code 1.
    pub fn new(message: impl Into<String>) -> Failure {
        Failure::with(Code::Error, message)
    }

    /// A failure with another exit code.
    pub fn with(code: Code, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), advice: None }
    }

    /// The same, for one thing of many, unless it is named already.
    pub fn about(mut self, name: &str) -> Failure {
        if !self.message.starts_with(name) {
            self.message = format!("{name} {}", self.message);
        }
        self
    }

    /// The same, with a hint for people.
    pub fn advise(mut self, advice: &'static str) -> Failure {
        self.advice = Some(advice);
        self
    }

    /// Tells it on standard error.
    pub fn report(self) -> ExitCode {
        eprintln!("error: {}", self.message);
        if let Some(advice) = self.advice {
            eprintln!("  {advice}");
        }
        self.code.into()
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> ExitCode {
        ExitCode::from(code as u8)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let (code, advice) = match &error {
            Error::Denied(_) => (Code::Denied, None),
            Error::Invalid { .. } => (Code::Usage, None),
            Error::NotFound { reason, .. } => (Code::NotFound, not_found(reason)),
            Error::PermitEnded { .. } | Error::Unusable(_) => (Code::Conflict, None),
            Error::Conflict { reason, .. } => (Code::Conflict, conflict(reason)),
            Error::Overloaded { .. } => {
                (Code::Unavailable, Some("Nothing was changed. Try again, with fewer calls at once."))
            }
            Error::QueueFull { .. } => {
                (Code::Unavailable, Some("Nothing was changed. Try again when fewer wait for it."))
            }
            Error::Unavailable { reason, .. } => (Code::Unavailable, Some(unavailable(reason))),
            Error::OutcomeUnknown { request_id: Some(_), .. } => {
                (Code::Unavailable, Some("It may have taken effect: try again with --request-id, as above."))
            }
            Error::OutcomeUnknown { .. } => {
                (Code::Unavailable, Some("It may have taken effect: look before you try again."))
            }
            _ => (Code::Error, None),
        };
        Failure { code, message: error.to_string(), advice }
    }
}

fn unavailable(reason: &str) -> &'static str {
    match reason {
        "STORAGE_FULL" => {
            "Nothing was changed. Make room on the leader's disk; `tollgate cluster status` shows who leads."
        }
        _ => "Nothing was changed. Does the cluster run, and is --nodes (TOLLGATE_NODES) right?",
    }
}

fn not_found(reason: &str) -> Option<&'static str> {
    match reason {
        "RESOURCE_NOT_FOUND" => Some("`tollgate resource list` shows those that exist."),
        "MEMBER_NOT_FOUND" => Some("`tollgate cluster status` shows the members."),
        _ => None,
    }
}

fn conflict(reason: &str) -> Option<&'static str> {
    match reason {
        "STALE_GENERATION" => Some("Somebody else changed it meanwhile: read it again, then decide."),
        "REQUEST_ID_REUSED" => Some("Use another --request-id for another request."),
        "PERMIT_WITHOUT_LEASE" => Some("The permit holds no slot: there is nothing to renew."),
        "CHANGE_IN_PROGRESS" => Some("`tollgate cluster status` shows when the other change is done."),
        _ => None,
    }
}
