//! Extending a lease.

use std::time::Duration;

use tollgate_proto::v1::{self, permit_service_client::PermitServiceClient};

use crate::{
    attempt::{Answered, Repeat, Terms},
    client::{Answer, Client},
    duration::{from_wire, to_wire},
    error::Error,
};

/// Extends the lease of a permit that is known by its id; await it for the new lease, from now. A [`Permit`] needs none:
/// it renews itself.
///
/// [`Permit`]: crate::Permit
#[must_use = "a renewal is sent when it is awaited"]
pub struct Renew {
    client: Client,
    request: v1::RenewPermitRequest,
    deadline: Duration,
}

impl Renew {
    pub(crate) fn new(client: Client, permit_id: String) -> Renew {
        let request = v1::RenewPermitRequest { permit_id, lease: None };
        Renew { deadline: client.deadline(), client, request }
    }

    /// How long from now: 1 ms to the resource's maximum. Default: the resource's default. Never shortens what is left.
    pub fn lease(self, lease: Duration) -> Renew {
        self.lease_if(Some(lease))
    }

    /// How long all tries may take together. Default: the client's.
    pub fn deadline(mut self, deadline: Duration) -> Renew {
        self.deadline = deadline;
        self
    }

    pub(crate) fn lease_if(mut self, lease: Option<Duration>) -> Renew {
        self.request.lease = lease.map(to_wire);
        self
    }

    pub(crate) async fn ask(self) -> Result<Answered<Duration>, Error> {
        let Renew { client, request, deadline } = self;
        let answered = client
            .call(Terms::at_once(deadline, Repeat::Freely), |attempt| {
                let request = attempt.request(request.clone());
                async move { PermitServiceClient::new(attempt.channel).renew_permit(request).await }
            })
            .await?;
        let lease = answered.message.lease.ok_or_else(|| Error::incomplete("lease"))?;
        Ok(Answered { message: from_wire(lease), asked_at: answered.asked_at, repeated: answered.repeated })
    }
}

impl IntoFuture for Renew {
    type Output = Result<Duration, Error>;
    type IntoFuture = Answer<Duration>;

    fn into_future(self) -> Answer<Duration> {
        Box::pin(async move { Ok(self.ask().await?.message) })
    }
}
