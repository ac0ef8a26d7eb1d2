//! The tries of one call.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{
    CallError, Limiter, Observation, Observe,
    retries::{Next, Tried},
    settle::settle,
};
use crate::{acquire::Acquire, error::Error, permit::Permit};

/// How one try ended.
enum End<T, E> {
    Returned(Result<T, E>),
    TimedOut,
    LeaseLost,
}

impl<T: Observe, E: Observe> Observe for End<T, E> {
    fn observe(&self) -> Observation {
        match self {
            End::Returned(result) => result.observe(),
            End::TimedOut | End::LeaseLost => Observation::Unanswered,
        }
    }
}

impl Limiter {
    pub(super) async fn run<T, E, F>(
        &self,
        request: Acquire,
        mut work: impl FnMut(Arc<Permit>) -> F,
    ) -> Result<T, CallError<E>>
    where
        T: Observe,
        E: Observe,
        F: Future<Output = Result<T, E>>,
    {
        if !request.own_id {
            let error = Error::invalid("request_id", "must not be set: each try is a request of its own");
            return Err(CallError::NoPermit { error, tries: 0 });
        }
        let request = if request.wait.is_zero() { request.wait_up_to(self.wait) } else { request };
        let mut patience = self.patience.unwrap_or_default();
        for tries in 1.. {
            let permit = self.patiently(&request, &mut patience).await;
            let permit = permit.map_err(|error| CallError::NoPermit { error, tries: tries - 1 })?;
            let end = self.attempt(&permit, &mut work).await;
            let observation = end.observe();
            match self.finish(permit, observation, tries).await {
                Next::Stop => return self.result(end, tries),
                Next::Ask => tracing::debug!(tries, "a call is tried again when the cluster lets it"),
                Next::AskAfter(delay) => {
                    tracing::debug!(tries, ?delay, "a call is tried again");
                    sleep(delay).await;
                }
            }
        }
        unreachable!("tries are bounded by a number that fits")
    }

    /// A permit that can be used now, or why there is none.
    pub(super) async fn permit(&self, request: &Acquire) -> Result<Arc<Permit>, Error> {
        let permit = request.times(1).await?;
        match permit.ensure_usable() {
            Ok(()) => Ok(Arc::new(permit)),
            Err(unusable) => {
                settle(self, Arc::new(permit), &Observation::Unsent).await;
                Err(unusable.into())
            }
        }
    }

    async fn attempt<T, E, F>(
        &self,
        permit: &Arc<Permit>,
        work: &mut impl FnMut(Arc<Permit>) -> F,
    ) -> End<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        tokio::select! {
            // What is done counts, however late it is noticed.
            biased;
            result = work(permit.clone()) => End::Returned(result),
            () = permit.lost() => End::LeaseLost,
            () = sleep(self.timeout) => End::TimedOut,
        }
    }

    /// Tells the cluster how a try ended, and decides what follows.
    async fn finish(&self, permit: Arc<Permit>, observation: Observation, tries: u32) -> Next {
        let understood = settle(self, permit, &observation).await;
        let tried = Tried {
            observation: &observation,
            understood: understood.as_ref(),
            retry_after: retry_after(&observation),
            idempotent: self.idempotent,
        };
        self.retries.next(&tried, tries, rand::random())
    }

    fn result<T, E>(&self, end: End<T, E>, tries: u32) -> Result<T, CallError<E>> {
        match end {
            End::Returned(Ok(value)) => Ok(value),
            End::Returned(Err(error)) => Err(CallError::Failed { error, tries }),
            End::TimedOut => Err(CallError::TimedOut { after: self.timeout, tries }),
            End::LeaseLost => Err(CallError::LeaseLost { tries }),
        }
    }
}

fn retry_after(observation: &Observation) -> Option<Duration> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a vendor's date is compared with the wall clock, or not at all"
    )]
    let now = std::time::SystemTime::now();
    match observation {
        Observation::Answered(answer) => answer.retry_after(now),
        _ => None,
    }
}
