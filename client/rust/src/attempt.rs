//! Tries, one after the other, until one is answered or the deadline has passed.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Request, Response, Status, transport::Channel};

use crate::{
    client::DEADLINE_MAX,
    duration::jitter,
    error::Error,
    fault::{Fault, Verdict},
    nodes::{Node, Nodes},
};

/// How long one of several tries may take, besides what it may wait for its turn. A node without a leader says so within
/// 2 s; one that is silent for longer hangs, and another one is asked. While a call waits, it is the connection that is
/// probed for whether the node still lives.
pub(crate) const TRY_TIMEOUT: Duration = Duration::from_secs(3);

/// Waits between tries: the first failover is quick, a long outage is not made worse. The jitter is only ever added.
pub(crate) const BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(10))
    .with_max_delay(Duration::from_millis(500))
    .with_factor(2.0)
    .without_max_times()
    .with_jitter();

/// Whether a call whose outcome is unknown may be made again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It has a request id, or repeating it changes nothing.
    Freely,
    /// Only when it certainly was not carried out.
    OnlyUnsent,
}

/// How long a call may take, and whether it may be made again.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    /// How long all tries may take together, besides the wait.
    deadline: Duration,
    /// How long the server may hold the call back.
    wait: Duration,
    repeat: Repeat,
}

impl Terms {
    /// Of a call that is answered at once.
    pub(crate) fn at_once(deadline: Duration, repeat: Repeat) -> Terms {
        Terms { deadline, wait: Duration::ZERO, repeat }
    }

    /// Of a call that the server may hold for as long as `wait`, and that is safe to repeat.
    pub(crate) fn waiting(wait: Duration, deadline: Duration) -> Terms {
        Terms { deadline, wait, repeat: Repeat::Freely }
    }

    /// When the last try ends, if the first one is made then.
    pub(crate) fn end(self, asked_at: Instant) -> Instant {
        asked_at + self.deadline.saturating_add(self.wait).min(DEADLINE_MAX)
    }
}

/// One try.
pub(crate) struct Try {
    /// To whom.
    pub(crate) channel: Channel,
    /// 1, 2, 3…
    pub(crate) number: u32,
    /// When the first one was made.
    pub(crate) asked_at: Instant,
    timeout: Duration,
}

impl Try {
    /// The message, with the time that this try has.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }
}

/// An answer.
pub(crate) struct Answered<T> {
    /// What it is.
    pub(crate) message: T,
    /// When the first try was made: what the durations in the answer count from.
    pub(crate) asked_at: Instant,
    /// An earlier try may have taken effect, too.
    pub(crate) repeated: bool,
}

/// No answer.
pub(crate) struct Failed {
    /// Why.
    pub(crate) error: Error,
    /// An earlier try may have taken effect.
    pub(crate) repeated: bool,
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Error {
        failed.error
    }
}

/// Makes a call. What `ask` does with its [`Try`] must be the same each time, but for the number.
pub(crate) async fn call<T, F>(
    nodes: &Nodes,
    terms: Terms,
    mut ask: impl FnMut(Try) -> F,
) -> Result<Answered<T>, Failed>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let asked_at = Instant::now();
    let Terms { wait, repeat, .. } = terms;
    let ends_at = terms.end(asked_at);
    let may_wait_until = asked_at + wait.min(DEADLINE_MAX);
    let mut backoff = BACKOFF.build();
    let mut repeated = false;
    // What a node said last. At the end it tells more than that another one could not be reached.
    let mut spoken = None;
    for number in 1.. {
        let node = nodes.pick();
        let left = ends_at.saturating_duration_since(Instant::now());
        let held = may_wait_until.saturating_duration_since(Instant::now());
        let timeout = if repeat == Repeat::Freely { left.min(TRY_TIMEOUT + held) } else { left };
        let attempt = Try { channel: node.channel(!wait.is_zero()), number, asked_at, timeout };
        let status = match try_once(ask(attempt), timeout).await {
            Ok(response) => {
                nodes.learn(response.metadata());
                return Ok(Answered { message: response.into_inner(), asked_at, repeated });
            }
            Err(status) => status,
        };
        let fault = note(nodes, &node, status);
        let (at_least, certain) = match fault.verdict() {
            Verdict::Final => return Err(Failed { error: fault.into_error(!repeated), repeated }),
            Verdict::Unsent(asked) => (asked.unwrap_or_default(), !repeated),
            Verdict::Unknown => (Duration::ZERO, false),
        };
        let pause = backoff.next().unwrap_or_default().max(at_least + jitter(at_least / 2));
        let over = Instant::now() + pause >= ends_at;
        if over || (!certain && repeat == Repeat::OnlyUnsent) {
            let told = if fault.is_spoken() { fault } else { spoken.unwrap_or(fault) };
            return Err(Failed { error: told.into_error(certain), repeated });
        }
        repeated = !certain;
        if fault.is_spoken() {
            spoken = Some(fault);
        }
        tracing::debug!(number, ?pause, "a try failed; trying again");
        sleep(pause).await;
    }
    unreachable!("tries are counted for longer than a deadline can last")
}

/// Draws from a failed try what there is to know about the nodes.
pub(crate) fn note(nodes: &Nodes, node: &Node, status: Status) -> Fault {
    let hint = status.metadata().clone();
    let fault = Fault::of_node(&node.address, status);
    match fault.verdict() {
        // An overloaded leader is still the leader.
        Verdict::Final | Verdict::Unsent(Some(_)) => {}
        Verdict::Unsent(None) | Verdict::Unknown => nodes.failed(node),
    }
    nodes.learn(&hint);
    fault
}

async fn try_once<T>(
    ask: impl Future<Output = Result<Response<T>, Status>>,
    limit: Duration,
) -> Result<Response<T>, Status> {
    timeout(limit, ask)
        .await
        .unwrap_or_else(|_| Err(Status::deadline_exceeded(format!("no answer within {limit:?}"))))
}

#[cfg(test)]
mod tests;
