//! One call for many that want the same.

use std::time::Duration;

use tollgate_proto::v1::{
    self, invalidate_results_request::Keys, permit_service_client::PermitServiceClient,
};

use crate::{
    acquire::Acquire,
    attempt::{Repeat, Terms},
    client::{Answer, Client},
    decide::{self, Way},
    duration::from_wire,
    error::Error,
    permit::Permit,
};

/// A request whose call others may make, or it for others: await it, or have [`Limiter::share`](crate::Limiter::share) do all that
/// follows. See [`Acquire::coalesce`].
#[must_use = "a request is sent when it is awaited"]
pub struct Coalesce(pub(crate) Acquire);

/// What becomes of a request whose call others may make.
#[derive(Debug)]
#[must_use = "dropping a permit lets the next one make the call"]
pub enum Coalesced {
    /// It is to make the call. Release the permit with a [result](crate::Release::result): the others wait for it.
    Permit(Permit),
    /// Another has made the call.
    Result(SharedResult),
}

/// What a call came to that another made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedResult {
    /// As the other gave it; may be empty.
    pub bytes: Vec<u8>,
    /// How long ago it was given.
    pub age: Duration,
    /// How long the request waited for it; 0 when it was there.
    pub waited: Duration,
}

impl Acquire {
    /// Names the call, so that of many requests for the same one makes it and the others have its result: such as `contact/42`,
    /// or the id of a webhook event that may be delivered twice. The key is the resource's, 1 to 256 bytes, and says all that
    /// makes a difference to the result. Give [a time to wait](Acquire::wait_up_to): without it, a request is denied while
    /// another makes the call.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use tollgate_client::{Client, Coalesced, Error};
    /// # async fn fetch() -> Vec<u8> { vec![] }
    /// # async fn example(client: Client) -> Result<Vec<u8>, Error> {
    /// let asked = client.acquire("hubspot/acme").wait_up_to(Duration::from_secs(30)).coalesce("contact/42");
    /// Ok(match asked.await? {
    ///     Coalesced::Result(shared) => shared.bytes,
    ///     Coalesced::Permit(permit) => {
    ///         let contact = fetch().await; // or drop the permit: then the next one makes the call
    ///         permit.release().result(contact.clone()).keep_result_for(Duration::from_secs(60)).await?;
    ///         contact
    ///     }
    /// })
    /// # }
    /// ```
    pub fn coalesce(mut self, key: impl Into<String>) -> Coalesce {
        self.request.coalesce_key = key.into();
        Coalesce(self)
    }
}

impl IntoFuture for Coalesce {
    type Output = Result<Coalesced, Error>;
    type IntoFuture = Answer<Coalesced>;

    fn into_future(self) -> Answer<Coalesced> {
        Box::pin(decide::ask_coalesced(self.0, Way::Call))
    }
}

impl Client {
    /// Drops the result that is kept under this key, as when a webhook tells of a change, and lets the call that is under way
    /// leave none. Whether one was kept.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such resource.
    pub async fn invalidate_result(&self, resource: &str, key: &str) -> Result<bool, Error> {
        Ok(self.invalidate(resource, Keys::Key(key.to_owned())).await? > 0)
    }

    /// The same for all keys of the resource that begin with `prefix`. How many were kept.
    ///
    /// # Errors
    /// As [`invalidate_result`](Client::invalidate_result).
    pub async fn invalidate_results(&self, resource: &str, prefix: &str) -> Result<u64, Error> {
        self.invalidate(resource, Keys::Prefix(prefix.to_owned())).await
    }

    async fn invalidate(&self, resource: &str, keys: Keys) -> Result<u64, Error> {
        let request = v1::InvalidateResultsRequest { resource: resource.to_owned(), keys: Some(keys) };
        let answered = self.call(Terms::at_once(self.deadline(), Repeat::Freely), |attempt| {
            let request = attempt.request(request.clone());
            async move { PermitServiceClient::new(attempt.channel).invalidate_results(request).await }
        });
        Ok(answered.await?.message.invalidated)
    }
}

impl Coalesced {
    /// The permit of a request that no other answers for.
    pub(crate) fn into_permit(self) -> Result<Permit, Error> {
        match self {
            Coalesced::Permit(permit) => Ok(permit),
            Coalesced::Result(_) => Err(Error::incomplete("permit")),
        }
    }
}

impl From<v1::SharedResult> for SharedResult {
    fn from(shared: v1::SharedResult) -> SharedResult {
        SharedResult {
            bytes: shared.result,
            age: shared.age.map(from_wire).unwrap_or_default(),
            waited: shared.waited.map(from_wire).unwrap_or_default(),
        }
    }
}
