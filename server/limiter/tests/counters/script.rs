//! Random limits and random histories of calls, with small numbers so that everything meets everything.

use proptest::prelude::*;
use tollgate_limiter::counter::{Debit, RateCounter, Terms};
use tollgate_limiter::*;

/// In nanoseconds.
pub const HOUR: u64 = 3600 * NANOS_PER_SECOND;

/// A limit with the dispatch tolerance it is counted with.
#[derive(Clone, Debug)]
pub struct Rules {
    pub kind: LimitKind,
    pub tolerance: Span,
}

impl Rules {
    pub fn terms(&self) -> Terms<'_> {
        Terms { kind: &self.kind, dispatch_tolerance: self.tolerance }
    }
}

pub fn token_buckets() -> impl Strategy<Value = Rules> {
    (1..30u64, 1..30u64, 1..50u64).prop_map(|(capacity, refill_amount, period)| Rules {
        kind: LimitKind::TokenBucket(TokenBucket { capacity, refill_amount, refill_period: Span(period) }),
        tolerance: Span::ZERO,
    })
}

pub fn leaky_buckets() -> impl Strategy<Value = Rules> {
    (1..30u64, 1..100u64).prop_map(|(amount, period)| Rules {
        kind: LimitKind::LeakyBucket(LeakyBucket { amount, period: Span(period) }),
        tolerance: Span::ZERO,
    })
}

pub fn epoch_windows() -> impl Strategy<Value = Rules> {
    (4..60u64).prop_flat_map(epoch_windows_of)
}

pub fn epoch_windows_of(period: u64) -> impl Strategy<Value = Rules> {
    // As definitions are validated. A call touches two windows at most: tolerance + 2 · skew < period.
    (1..20u64, 0..=period / 4).prop_flat_map(move |(amount, skew)| {
        (0..(period - 2 * skew).min(period.div_ceil(2))).prop_map(move |tolerance| Rules {
            kind: fixed_window(amount, period, Anchor::Epoch, skew),
            tolerance: Span(tolerance),
        })
    })
}

pub fn midnight_windows() -> impl Strategy<Value = Rules> {
    let zones = vec!["UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe"];
    let (skew, tolerance) = (0..=6 * HOUR, 0..=HOUR);
    (1..20u64, prop::sample::select(zones), skew, tolerance).prop_map(|(amount, zone, skew, tolerance)| {
        let anchor = Anchor::Midnight(TimeZoneName::new(zone).unwrap());
        Rules { kind: fixed_window(amount, 24 * HOUR, anchor, skew), tolerance: Span(tolerance) }
    })
}

pub fn first_request_windows() -> impl Strategy<Value = Rules> {
    (1..20u64, 1..60u64).prop_flat_map(|(amount, period)| {
        (0..=period / 2).prop_map(move |tolerance| Rules {
            kind: fixed_window(amount, period, Anchor::FirstRequest, 0),
            tolerance: Span(tolerance),
        })
    })
}

pub fn sliding_windows() -> impl Strategy<Value = Rules> {
    (1..20u64, 1..60u64, 1..12u32).prop_flat_map(|(amount, period, resolution)| {
        (0..=period / 2).prop_map(move |tolerance| Rules {
            kind: LimitKind::SlidingWindow(SlidingWindow { amount, period: Span(period), resolution }),
            tolerance: Span(tolerance),
        })
    })
}

pub fn all_kinds() -> impl Strategy<Value = Rules> {
    prop_oneof![token_buckets(), leaky_buckets(), epoch_windows(), first_request_windows(), sliding_windows()]
}

pub fn fixed_window(amount: u64, period: u64, anchor: Anchor, skew: u64) -> LimitKind {
    LimitKind::FixedWindow(FixedWindow { amount, period: Span(period), anchor, max_clock_skew: Span(skew) })
}

/// What happens, some time after what happened before.
#[derive(Clone, Debug)]
pub struct Step {
    pub elapsed: u64,
    /// Wall clocks of a quorum may run ahead of cluster time.
    pub wall_ahead: u64,
    pub action: Action,
}

#[derive(Clone, Debug)]
pub enum Action {
    /// Ask for so much, and wait as long as the counter says if it does not fit and `patient`.
    Acquire { amount: u64, patient: bool },
    /// Count so much, whether or not it fits.
    Force { amount: u64 },
    /// One of the calls was not sent.
    Refund { which: prop::sample::Index },
    /// One of the calls weighed less.
    Settle { which: prop::sample::Index, amount: u64 },
    /// One of the calls weighed more, by so much.
    Owe { which: prop::sample::Index, extra: u64 },
}

pub fn steps(actions: impl Strategy<Value = Action>) -> impl Strategy<Value = Vec<Step>> {
    let elapsed = prop_oneof![3 => Just(0), 4 => 1..8u64, 2 => 8..60u64, 1 => 60..400u64];
    let wall_ahead = prop_oneof![9 => Just(0), 1 => 0..40u64];
    let step = (elapsed, wall_ahead, actions).prop_map(|(elapsed, wall_ahead, action)| Step {
        elapsed,
        wall_ahead,
        action,
    });
    prop::collection::vec(step, 1..60)
}

pub fn acquires() -> impl Strategy<Value = Action> {
    (prop_oneof![3 => Just(1), 1 => 1..12u64], any::<bool>())
        .prop_map(|(amount, patient)| Action::Acquire { amount, patient })
}

pub fn forces() -> impl Strategy<Value = Action> {
    (1..12u64).prop_map(|amount| Action::Force { amount })
}

pub fn refunds() -> impl Strategy<Value = Action> {
    any::<prop::sample::Index>().prop_map(|which| Action::Refund { which })
}

pub fn settlements() -> impl Strategy<Value = Action> {
    (any::<prop::sample::Index>(), 0..6u64).prop_map(|(which, amount)| Action::Settle { which, amount })
}

pub fn debts() -> impl Strategy<Value = Action> {
    (any::<prop::sample::Index>(), 1..6u64).prop_map(|(which, extra)| Action::Owe { which, extra })
}

/// One granted call, as the reference model sees it.
#[derive(Clone, Debug)]
pub struct Call {
    pub at: Stamp,
    /// What it weighs by now.
    pub amount: u64,
    pub sent: bool,
    pub debit: Debit,
}

/// A counter and the list of all it granted.
#[derive(Clone, Debug)]
pub struct History {
    pub rules: Rules,
    pub counter: RateCounter,
    pub now: Stamp,
    pub calls: Vec<Call>,
}

impl History {
    pub fn new(rules: Rules) -> History {
        let now = Stamp { cluster: ClusterTime(1_000), wall: WallTime(1_700_000) };
        let counter = RateCounter::fresh(rules.terms(), now);
        History { rules, counter, now, calls: Vec::new() }
    }

    pub fn run(rules: Rules, steps: &[Step]) -> History {
        let mut history = History::new(rules);
        steps.iter().for_each(|step| history.take(step));
        history
    }

    pub fn take(&mut self, step: &Step) {
        self.now = self.now.after(Span(step.elapsed));
        self.now.wall.0 += i64::try_from(step.wall_ahead).unwrap();
        match &step.action {
            Action::Acquire { amount, patient } => self.acquire(*amount, *patient),
            Action::Force { amount } => self.debit(*amount),
            Action::Refund { which } => self.refund(which),
            Action::Settle { which, amount } => self.settle(which, *amount),
            Action::Owe { which, extra } => self.owe(which, *extra),
        }
    }

    pub fn debit(&mut self, amount: u64) {
        let debit = self.counter.debit(self.rules.terms(), amount, self.now);
        self.calls.push(Call { at: self.now, amount, sent: true, debit });
    }

    fn acquire(&mut self, amount: u64, patient: bool) {
        let Some(earliest) = self.counter.earliest(self.rules.terms(), amount, self.now) else { return };
        if earliest == self.now || patient {
            self.now = earliest;
            self.debit(amount);
        }
    }

    /// The news comes while the vendor's window may still be open, where windows open with a call.
    fn refund(&mut self, which: &prop::sample::Index) {
        let Some(call) = self.pick(which) else { return };
        if let LimitKind::FixedWindow(window) = &self.rules.kind {
            let late = self.calls[call].at.cluster + window.period + self.rules.tolerance;
            if window.anchor == Anchor::FirstRequest && self.now.cluster >= late {
                return;
            }
        }
        let call = &mut self.calls[call];
        self.counter.refund(self.rules.terms(), &mut call.debit, self.now);
        (call.sent, call.amount) = (false, 0);
    }

    fn settle(&mut self, which: &prop::sample::Index, amount: u64) {
        let Some(call) = self.pick(which) else { return };
        let call = &mut self.calls[call];
        if amount < call.amount {
            self.counter.correct(self.rules.terms(), &mut call.debit, amount, self.now);
            call.amount = amount;
        }
    }

    fn owe(&mut self, which: &prop::sample::Index, extra: u64) {
        let Some(call) = self.pick(which) else { return };
        let call = &mut self.calls[call];
        call.amount += extra;
        self.counter.correct(self.rules.terms(), &mut call.debit, call.amount, self.now);
    }

    fn pick(&self, which: &prop::sample::Index) -> Option<usize> {
        let index = (!self.calls.is_empty()).then(|| which.index(self.calls.len()))?;
        self.calls[index].sent.then_some(index)
    }

    pub fn available(&self) -> i64 {
        self.counter.available(self.rules.terms(), self.now)
    }

    pub fn earliest(&self, amount: u64, from: Stamp) -> Option<Stamp> {
        self.counter.earliest(self.rules.terms(), amount, from)
    }
}
