//! The tries of one call.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tollgate_proto::v1::Outcome;

use super::{
    CallError, Limiter, Observation, Observe, Unanswered,
    retries::{Next, Tried},
    settle::settle,
    share::Kept,
};
use crate::{
    acquire::Acquire,
    answer::Answer,
    coalesce::{Coalesced, SharedResult},
    decide::{self, Way},
    error::Error,
    feedback::Understood,
    permit::Permit,
};

/// How a call ended, if not with an error.
pub(super) enum End<T> {
    Returned(Returned<T>),
    /// Another has made it.
    Shared(SharedResult),
}

/// What a call returned last.
pub(super) struct Returned<T> {
    pub(super) value: T,
    /// The vendor's answer, if that refuses the call for a limit, and how often the vendor was called.
    refusal: Option<(Box<Answer>, u32)>,
}

impl<T> Returned<T> {
    /// The same as an error if the call was refused. The vendor may have said so with what looks like a success.
    pub(super) fn served<E>(self) -> Result<T, CallError<E>> {
        match self.refusal {
            None => Ok(self.value),
            Some((answer, tries)) => Err(CallError::Limited { answer, tries }),
        }
    }
}

/// How one try ended.
enum Try<T, E> {
    Returned(Result<T, E>),
    TimedOut,
    LeaseLost,
}

impl<T: Observe, E: Observe> Observe for Try<T, E> {
    fn observe(&self) -> Observation {
        match self {
            Try::Returned(result) => result.observe(),
            Try::TimedOut | Try::LeaseLost => Observation::Unanswered,
        }
    }
}

impl<T: Observe, E: Observe> Try<T, E> {
    /// What the cluster is told. That a lease was lost says nothing of the vendor.
    fn outcome(&self) -> Outcome {
        match self {
            Try::LeaseLost => Outcome::Unknown,
            Try::Returned(_) | Try::TimedOut => self.observe().outcome(),
        }
    }
}

impl Limiter {
    /// Tries until there is nothing more to try. `kept` says which part of what a try returned others may have.
    pub(super) async fn run<T, E, F>(
        &self,
        request: Acquire,
        kept: impl Fn(&T) -> Option<Kept>,
        mut work: impl FnMut(Arc<Permit>) -> F,
    ) -> Result<End<T>, CallError<E>>
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
            let granted = self.patiently(&request, &mut patience).await;
            let permit = match granted.map_err(|error| CallError::NoPermit { error, tries: tries - 1 })? {
                Coalesced::Permit(permit) => Arc::new(permit),
                Coalesced::Result(shared) => return Ok(End::Shared(shared)),
            };
            if self.unanswered == Unanswered::KeepsSlot && !request.is_for_many() {
                permit.outlive_the_call();
            }
            let tried = self.attempt(&permit, &mut work).await;
            let kept = if let Try::Returned(Ok(value)) = &tried { kept(value) } else { None };
            let (outcome, observation) = (tried.outcome(), tried.observe());
            // The vendor's time begins with its answer, whatever telling the cluster takes.
            let (ended_at, retry_after) = (Instant::now(), retry_after(&observation));
            let understood = settle(self, (&request, permit), (outcome, &observation), kept).await;
            match self.next(&observation, understood.as_ref(), retry_after, tries) {
                Next::Stop => {
                    let refusal = refusal(observation, understood.as_ref()).map(|answer| (answer, tries));
                    let value = self.result(tried, tries)?;
                    return Ok(End::Returned(Returned { value, refusal }));
                }
                Next::AskAfter(delay) => {
                    tracing::debug!(tries, ?delay, "a call is tried again");
                    sleep(delay.saturating_sub(ended_at.elapsed())).await;
                }
            }
        }
        unreachable!("tries are bounded by a number that fits")
    }

    /// A permit that can be used now, or what another's call came to, or why there is neither.
    pub(super) async fn permit(&self, request: &Acquire) -> Result<Coalesced, Error> {
        let granted = decide::ask_coalesced(request.times(1), Way::Call).await?;
        let Coalesced::Permit(permit) = granted else { return Ok(granted) };
        match permit.ensure_usable() {
            Ok(()) => Ok(Coalesced::Permit(permit)),
            Err(unusable) => {
                let unsent = (Outcome::NotSent, &Observation::Unsent);
                settle(self, (request, Arc::new(permit)), unsent, None).await;
                Err(unusable.into())
            }
        }
    }

    async fn attempt<T, E, F>(
        &self,
        permit: &Arc<Permit>,
        work: &mut impl FnMut(Arc<Permit>) -> F,
    ) -> Try<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        tokio::select! {
            // What is done counts, however late it is noticed.
            biased;
            result = work(permit.clone()) => Try::Returned(result),
            () = permit.lost() => Try::LeaseLost,
            () = sleep(self.timeout) => Try::TimedOut,
        }
    }

    fn next(
        &self,
        observation: &Observation,
        understood: Option<&Understood>,
        retry_after: Option<Duration>,
        tries: u32,
    ) -> Next {
        let tried = Tried { observation, understood, retry_after, idempotent: self.idempotent };
        self.retries.next(&tried, tries, rand::random())
    }

    fn result<T, E>(&self, tried: Try<T, E>, tries: u32) -> Result<T, CallError<E>> {
        match tried {
            Try::Returned(Ok(value)) => Ok(value),
            Try::Returned(Err(error)) => Err(CallError::Failed { error, tries }),
            Try::TimedOut => Err(CallError::TimedOut { after: self.timeout, tries }),
            Try::LeaseLost => Err(CallError::LeaseLost { tries }),
        }
    }
}

/// The vendor's answer, if that refuses the call for a limit. Where nobody could read it, its status tells.
fn refusal(observation: Observation, understood: Option<&Understood>) -> Option<Box<Answer>> {
    let Observation::Answered(answer) = observation else { return None };
    let limited = understood.map_or(answer.status() == 429, |understood| understood.limited);
    limited.then(|| Box::new(answer))
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
