//! Operations made of unary calls.

use std::time::Duration;

use tokio::time::Instant;
use tollgate_proto::v1::{
    AcquirePermitRequest, AcquirePermitResponse, AcquirePermitsRequest, CallError, GrantedPermit,
    ReleasePermitRequest, RenewPermitRequest, acquire_permit_response::Decision, acquire_permit_result,
    permit_service_client::PermitServiceClient,
};
use tonic::{Status, transport::Channel};
use tonic_types::StatusExt;

use crate::{plan::Calls, requests::Requests, tally::Outcome};

/// How long a request waits for its turn, at most.
const WAIT_MAX_SECONDS: i64 = 60;

/// The pause after an error: a node that refuses everything is not to be asked a million times.
pub const PAUSE: Duration = Duration::from_millis(10);

/// One connection.
pub type Connection = PermitServiceClient<Channel>;

/// Carries out one operation.
pub async fn carry_out(calls: Calls, requests: &Requests, connection: &Connection) -> Outcome {
    let outcome = match calls {
        Calls::Acquire => Outcome::one(acquire(connection, requests.next()).await.map(drop)),
        Calls::Deny => Outcome::one(deny(connection, requests.next()).await),
        Calls::Batch { size } => batch(connection, requests, size).await,
        Calls::Wait => wait(connection, requests.next()).await,
        Calls::Lease { renewals } => Outcome::one(lease(connection, requests.next(), renewals).await),
    };
    if outcome.operations == 0 {
        tokio::time::sleep(PAUSE).await;
    }
    outcome
}

async fn decide(
    connection: &Connection,
    request: AcquirePermitRequest,
) -> Result<AcquirePermitResponse, String> {
    let response = connection.clone().acquire_permit(request).await;
    Ok(response.map_err(|status| problem(&status))?.into_inner())
}

async fn acquire(connection: &Connection, request: AcquirePermitRequest) -> Result<GrantedPermit, String> {
    granted(decide(connection, request).await?)
}

async fn deny(connection: &Connection, request: AcquirePermitRequest) -> Result<(), String> {
    match decide(connection, request).await?.decision {
        Some(Decision::Denied(_)) => Ok(()),
        _ => Err("granted".to_owned()),
    }
}

async fn batch(connection: &Connection, requests: &Requests, size: usize) -> Outcome {
    let requests = (0..size).map(|_| requests.next()).collect();
    let response = connection.clone().acquire_permits(AcquirePermitsRequest { requests }).await;
    let mut outcome = Outcome { answered: Instant::now(), operations: 0, problems: vec![] };
    match response {
        Err(status) => outcome.problems.push(problem(&status)),
        Ok(response) => {
            for result in response.into_inner().results {
                match result.result {
                    Some(acquire_permit_result::Result::Response(response)) => match granted(response) {
                        Ok(_) => outcome.operations += 1,
                        Err(problem) => outcome.problems.push(problem),
                    },
                    Some(acquire_permit_result::Result::Error(error)) => {
                        outcome.problems.push(problem_of_call(&error));
                    }
                    None => outcome.problems.push(EMPTY.to_owned()),
                }
            }
        }
    }
    outcome
}

/// The slot is given up at once, for the next one that waits.
async fn wait(connection: &Connection, request: AcquirePermitRequest) -> Outcome {
    let max_wait = Some(prost_types::Duration { seconds: WAIT_MAX_SECONDS, nanos: 0 });
    let permit = acquire(connection, AcquirePermitRequest { max_wait, ..request }).await;
    let answered = Instant::now();
    let released = match permit {
        Ok(permit) => release(connection, permit.permit_id).await,
        Err(problem) => Err(problem),
    };
    Outcome { answered, ..Outcome::one(released) }
}

async fn lease(connection: &Connection, request: AcquirePermitRequest, renewals: u32) -> Result<(), String> {
    let permit_id = acquire(connection, request).await?.permit_id;
    for _ in 0..renewals {
        let renewal = RenewPermitRequest { permit_id: permit_id.clone(), lease: None };
        connection.clone().renew_permit(renewal).await.map_err(|status| problem(&status))?;
    }
    release(connection, permit_id).await
}

async fn release(connection: &Connection, permit_id: String) -> Result<(), String> {
    let request = ReleasePermitRequest { permit_id, ..ReleasePermitRequest::default() };
    connection.clone().release_permit(request).await.map(drop).map_err(|status| problem(&status))
}

/// The permit, where one was granted.
pub fn granted(response: AcquirePermitResponse) -> Result<GrantedPermit, String> {
    match response.decision {
        Some(Decision::Granted(permit)) => Ok(permit),
        Some(Decision::Denied(denial)) => Err(format!("denied {}", denial.reason().as_str_name())),
        // No load names a call that others could make.
        Some(Decision::Result(_)) | None => Err(EMPTY.to_owned()),
    }
}

const EMPTY: &str = "an answer without content";

/// What went wrong with a call, as its status says it.
pub fn problem(status: &Status) -> String {
    let reason = status.get_details_error_info().map(|info| info.reason);
    format!("{:?} {}", status.code(), reason.unwrap_or_else(|| status.message().to_owned()))
}

/// What went wrong with one call of many.
pub fn problem_of_call(error: &CallError) -> String {
    format!("{:?} {}", tonic::Code::from(error.code), error.reason)
}
