//! Asking for many permits at once.

use tollgate_proto::v1::{
    self, acquire_permit_result::Result as Decided, permit_service_client::PermitServiceClient,
};

use crate::{
    acquire::Acquire,
    attempt::{Answered, Terms},
    client::Client,
    decide::{numbered, received},
    error::Error,
    fault::Fault,
    permit::{Keep, Permit},
};

/// Requests in one call, at most.
pub const BATCH_MAX: usize = 1_000;

pub(crate) async fn ask(client: &Client, asked: Vec<Acquire>) -> Result<Vec<Result<Permit, Error>>, Error> {
    if asked.is_empty() || asked.len() > BATCH_MAX {
        return Err(Error::invalid(
            "requests",
            format!("{} of them; 1 to {BATCH_MAX} are allowed", asked.len()),
        ));
    }
    let wait = asked.iter().map(|acquire| acquire.wait).max().unwrap_or_default();
    let (requests, keeps): (Vec<_>, Vec<Keep>) =
        asked.into_iter().map(|acquire| (acquire.request, acquire.keep)).unzip();
    let batch = v1::AcquirePermitsRequest { requests };
    let answered = client
        .call(Terms::waiting(wait, client.deadline()), |attempt| {
            let mut batch = batch.clone();
            batch.requests = batch
                .requests
                .into_iter()
                .map(|request| numbered(request, attempt.number, attempt.asked_at))
                .collect();
            let batch = attempt.request(batch);
            async move { PermitServiceClient::new(attempt.channel).acquire_permits(batch).await }
        })
        .await?;
    let Answered { message, asked_at, repeated } = answered;
    if message.results.len() != batch.requests.len() {
        return Err(Error::incomplete("result for each request"));
    }
    Ok(message
        .results
        .into_iter()
        .zip(batch.requests.iter().zip(&keeps))
        .map(|(result, (request, keep))| match result.result {
            Some(Decided::Response(message)) => {
                received(client, Answered { message, asked_at, repeated }, keep)
            }
            Some(Decided::Error(error)) => {
                Err(Fault::from(error).into_error(!repeated).with_request_id(&request.request_id))
            }
            None => Err(Error::incomplete("result")),
        })
        .collect())
}
