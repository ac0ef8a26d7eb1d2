//! Calls that many want, and one makes.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use super::{CallError, Limiter, Observe, tries::End};
use crate::{answer::Answer, coalesce::Coalesce, error::Error, permit::Permit};

/// How long a result can be kept.
const KEEP_FOR: RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(7 * 24 * 3_600);

/// Bytes of a result that others can have.
const RESULT_BYTES_MAX: usize = 16 << 10;

/// A result for others.
pub(super) struct Kept {
    pub(super) bytes: Vec<u8>,
    pub(super) keep_for: Duration,
}

impl Limiter {
    /// Makes a call that others may be making just now, or have made: the first makes it as [`call`](Limiter::call) does, the others
    /// wait and have its result, and so has who asks within `keep_for` (5 s to 7 days). If it fails, the next one makes it. See
    /// [`Acquire::coalesce`](crate::Acquire::coalesce) for what its key must say.
    ///
    /// `work` gives back what the vendor answered, and what it came to. Others have that if the status is below 400, or says that
    /// there is nothing (404, 410), and it is 16 KiB at most. Give anything else back as an error, which is this caller's own. What the
    /// vendor refused for a limit, whatever the status, is nobody's result.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use tollgate_client::{Answer, CallError, Client, Limiter};
    /// # async fn fetch(id: u64) -> Result<(Answer, Vec<u8>), Answer> { Err(Answer::new(503)) }
    /// # async fn handle(event: &str) -> Result<(Answer, Vec<u8>), Answer> { Err(Answer::new(503)) }
    /// # async fn example(client: Client) -> Result<(), CallError<Answer>> {
    /// let hubspot = Limiter::new(client.clone()).vendor("hubspot").idempotent(true);
    ///
    /// let request = client.acquire("hubspot/acme").coalesce("contact/42");
    /// let contact = hubspot.share(request, Duration::from_secs(60), |_permit| fetch(42)).await?;
    ///
    /// // A webhook event that is delivered twice is handled once.
    /// let request = client.acquire("hubspot/acme").coalesce("event/9f3c");
    /// hubspot.share(request, Duration::from_secs(7 * 24 * 3_600), |_permit| handle("event/9f3c")).await?;
    /// # drop(contact);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`CallError`]. [`Error::Invalid`] in it for a time out of range, and as [`call`](Limiter::call).
    pub async fn share<E, F>(
        &self,
        request: Coalesce,
        keep_for: Duration,
        work: impl FnMut(Arc<Permit>) -> F,
    ) -> Result<Vec<u8>, CallError<E>>
    where
        E: Observe,
        F: Future<Output = Result<(Answer, Vec<u8>), E>>,
    {
        if !KEEP_FOR.contains(&keep_for) {
            let error = Error::invalid("keep_for", format!("must be 5 s to 7 days, not {keep_for:?}"));
            return Err(CallError::NoPermit { error, tries: 0 });
        }
        let kept = |(answer, bytes): &(Answer, Vec<u8>)| {
            let bytes = is_for_all(answer, bytes).then(|| bytes.clone())?;
            Some(Kept { bytes, keep_for })
        };
        match self.run(request.0, kept, work).await? {
            End::Returned(returned) => returned.served().map(|(_, bytes)| bytes),
            End::Shared(shared) => Ok(shared.bytes),
        }
    }
}

fn is_for_all(answer: &Answer, bytes: &[u8]) -> bool {
    matches!(answer.status(), 0..400 | 404 | 410) && bytes.len() <= RESULT_BYTES_MAX
}
