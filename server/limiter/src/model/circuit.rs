//! Circuit breakers: a vendor that fails is left alone for a while, and then tried with few calls (Nygard, 2007, "Release
//! It!", chapter "Stability Patterns").

use minicbor::{Decode, Encode};

use super::{CallOutcome, Label, Resource, ResourceName, Scope, Span, validate::Check};

/// When calls are given up for a while, and how they are taken up again.
///
/// Failures are calls that ended with [`CallOutcome::ServerError`] or [`CallOutcome::Timeout`]; those that the vendor
/// answered otherwise are successes; [`CallOutcome::Throttled`], [`CallOutcome::NotSent`] and [`CallOutcome::Unknown`] say nothing of
/// its health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CircuitBreaker {
    /// One circuit for the resource, or one for each of its keys.
    #[n(0)]
    pub scope: Scope,
    /// It opens at so many failures without a success between them, in the order in which they are told of, and none longer after the one
    /// before than `window`; 0: not for that.
    #[n(1)]
    pub consecutive_failures: u32,
    /// It opens when so many percent of the calls of a window failed; 0: not for that.
    #[n(2)]
    pub failure_percent: u32,
    /// Of fewer calls in a window no share is formed.
    #[n(3)]
    pub minimum_calls: u32,
    /// The window of the share. Counted in tenths of it.
    #[n(4)]
    pub window: Span,
    /// How long it is open the first time. Each time that a probe fails, it is open for twice as long.
    #[n(5)]
    pub open_for: Span,
    /// The longest that it is open at a time. When no probe has failed for so long since the first could go, it closes; not before
    /// `probe_timeout` is over.
    #[n(6)]
    pub max_open_for: Span,
    /// Half-open, so many permits are out at a time; and when so many of them have succeeded, it closes.
    #[n(7)]
    pub probes: u32,
    /// After so long, or when its lease ends if that is sooner, a probe of which nothing is told gives up its place.
    #[n(8)]
    pub probe_timeout: Span,
}

/// Whether permits are granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub enum CircuitState {
    /// As ever.
    #[default]
    #[n(0)]
    Closed,
    /// None.
    #[n(1)]
    Open,
    /// A few, as probes.
    #[n(2)]
    HalfOpen,
}

/// Where a circuit stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct CircuitStatus {
    /// Whether permits are granted.
    #[n(0)]
    pub state: CircuitState,
    /// Open: until it is half-open. Half-open, and all places for probes are taken: until the first is given up at the latest.
    /// Else zero.
    #[n(1)]
    pub left: Span,
    /// How often it has opened since it was closed last.
    #[n(2)]
    pub times_opened: u32,
    /// Failures since the last success; while it is open or half-open, this and the next two as they stood when it opened.
    #[n(3)]
    pub failures_in_row: u32,
    /// Successes and failures in the window.
    #[n(4)]
    pub calls: u64,
    /// Failures in the window.
    #[n(5)]
    pub failures: u64,
    /// Half-open: probes of which something is still to be told.
    #[n(6)]
    pub probes_out: u32,
    /// Half-open: probes that succeeded.
    #[n(7)]
    pub probes_succeeded: u32,
    /// How long it has not been closed. `None`: it is, or it opened before this was kept.
    #[n(8)]
    pub open_for: Option<Span>,
    /// The last failure that opened it, as far as that is known.
    #[n(9)]
    pub opened_by: Option<CallOutcome>,
}

/// That a circuit opened, opened again because a probe failed, or closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircuitTurn {
    /// Of which resource.
    pub resource: ResourceName,
    /// Of which key; empty: of the resource as a whole.
    pub key: Label,
    /// Where it stands since then. If it is closed: how often it had opened, since when, and because of what.
    pub circuit: CircuitStatus,
}

impl CircuitBreaker {
    /// The most probes at a time.
    pub const MAX_PROBES: u32 = 100;
    /// The shortest window, and the shortest time to be open.
    pub const SHORTEST: Span = Span::from_millis(100);
    /// The longest.
    pub const LONGEST: Span = Span::from_secs(24 * 3600);
    /// The most calls that a rule can ask for.
    pub const MAX_CALLS: u32 = 1_000_000;
}

impl Default for CircuitBreaker {
    /// Five failures in a row, or half of the calls of a minute if they are twenty at least; open for 30 s at first and for 10
    /// minutes at most; one probe at a time.
    fn default() -> CircuitBreaker {
        CircuitBreaker {
            scope: Scope::Resource,
            consecutive_failures: 5,
            failure_percent: 50,
            minimum_calls: 20,
            window: Span::from_secs(60),
            open_for: Span::from_secs(30),
            max_open_for: Span::from_secs(600),
            probes: 1,
            probe_timeout: Span::from_secs(60),
        }
    }
}

impl CallOutcome {
    /// Whether the call succeeded, as far as it tells of the vendor's health.
    pub(crate) fn succeeded(self) -> Option<bool> {
        match self {
            CallOutcome::Ok | CallOutcome::ClientError => Some(true),
            CallOutcome::ServerError | CallOutcome::Timeout => Some(false),
            CallOutcome::Throttled | CallOutcome::NotSent | CallOutcome::Unknown => None,
        }
    }
}

impl Resource {
    pub(super) fn check_circuit_breaker(&self, check: &mut Check) {
        const PATH: &str = "circuit_breaker";
        let Some(breaker) = self.circuit_breaker.as_deref() else { return };
        let CircuitBreaker { consecutive_failures, failure_percent, .. } = *breaker;
        match breaker.scope {
            Scope::Resource => {}
            Scope::Key if self.keys.is_empty() => {
                check.fails(PATH, "scope", "SCOPE_KEY needs keys in the resource");
            }
            Scope::Key => {}
            Scope::Consumer | Scope::Subject => {
                check.fails(PATH, "scope", "must be SCOPE_RESOURCE or SCOPE_KEY");
            }
        }
        let calls_max = CircuitBreaker::MAX_CALLS;
        check.range(PATH, "consecutive_failures", consecutive_failures, 0, calls_max);
        check.range(PATH, "failure_percent", failure_percent, 0, 100);
        if consecutive_failures == 0 && failure_percent == 0 {
            check.fails(PATH, "", "needs consecutive_failures or failure_percent: it would never open");
        }
        check.range(PATH, "minimum_calls", breaker.minimum_calls, 1, calls_max);
        let (shortest, longest) = (CircuitBreaker::SHORTEST, CircuitBreaker::LONGEST);
        check.range(PATH, "window", breaker.window, shortest, longest);
        check.range(PATH, "open_for", breaker.open_for, shortest, longest);
        check.range(PATH, "max_open_for", breaker.max_open_for, breaker.open_for.max(shortest), longest);
        check.range(PATH, "probes", breaker.probes, 1, CircuitBreaker::MAX_PROBES);
        check.range(PATH, "probe_timeout", breaker.probe_timeout, shortest, longest);
    }
}
