//! How a vendor is doing with one key, or with a resource as a whole.

use minicbor::{Decode, Encode};

use super::{
    circuit::Circuit,
    pace::{MICROS, Pace, Throughput},
};
use crate::model::{
    ClusterTime, DenialReason, FeedbackRules, Label, Limit, LimitKind, NANOS_PER_SECOND, PaceCause, Resource,
    Scope, Span,
};

#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct Condition {
    #[n(0)]
    pub circuit: Circuit,
    #[n(1)]
    pub pace: Option<Pace>,
    #[n(2)]
    pub throughput: Throughput,
    /// When a refusal counted last.
    #[n(3)]
    pub refused: Option<ClusterTime>,
    /// Calls that were permitted before the pace was lowered cannot tell whether it was lowered enough.
    #[n(4)]
    pub lowered_after: u64,
}

/// What stands before a key.
pub(crate) struct Obstruction {
    pub reason: DenialReason,
    pub opens_in: Span,
}

impl Condition {
    /// What keeps permits from being granted now, if anything does.
    pub fn before(
        &self,
        resource: &Resource,
        key: &Label,
        now: ClusterTime,
    ) -> impl Iterator<Item = Obstruction> {
        let breaker = resource.circuit_breaker.as_ref();
        let breaker = breaker.filter(|breaker| !self.circuit.wait(breaker, now).is_zero());
        let circuit = breaker.and_then(|breaker| self.circuit.status(breaker, now)).map(|circuit| {
            let opens_in = circuit.left;
            let (key, circuit) = (key.clone(), Box::new(circuit));
            Obstruction { opens_in, reason: DenialReason::CircuitOpen { key, circuit } }
        });
        let pace = self.pace.as_ref().filter(|pace| !pace.wait(now).is_zero());
        let pace = pace.and_then(|pace| pace.status(now)).map(|pace| {
            let opens_in = pace.next_in;
            let (key, pace) = (key.clone(), Box::new(pace));
            Obstruction { opens_in, reason: DenialReason::Paced { key, pace } }
        });
        circuit.into_iter().chain(pace)
    }

    /// From `began` on, up to the full rate of now: by then what was granted lately would be forgotten.
    pub fn ramp(
        &mut self,
        resource: &Resource,
        key: &Label,
        cause: PaceCause,
        (began, now): (ClusterTime, ClusterTime),
    ) {
        let rules = &resource.feedback;
        let full = self.full_rate(resource, key, now).filter(|_| !rules.ramp.is_zero());
        self.pace = full.map(|full| {
            Pace::rising(began, share(full, rules.ramp_from_percent), full, rules.ramp).because(cause)
        });
    }

    /// Half of the rate at which calls were granted just now, and from there up again.
    pub fn lower(&mut self, resource: &Resource, key: &Label, now: ClusterTime) {
        let rules = &resource.feedback;
        let Some(full) = self.full_rate(resource, key, now) else { return };
        let pace = self.pace.take().filter(|pace| !pace.is_over(now));
        let measured = Some(self.throughput.rate(now)).filter(|rate| *rate > 0);
        let paced = pace.as_ref().map(|pace| pace.rate(now));
        let rate = paced.or(measured).unwrap_or(full);
        let from = (rate / 2).max(share(full, rules.pace_floor_percent)).min(paced.unwrap_or(full));
        let way = u128::from(rules.pace_recovery.0) * u128::from(full - from) / u128::from(full);
        // A part of the recovery, which fits.
        let lowered = Pace::rising(now, from, full, Span(way as u64)).because(PaceCause::Refusals);
        self.pace = Some(match pace {
            Some(pace) => lowered.no_sooner_than(&pace, now),
            None => lowered,
        });
    }

    /// The highest rate that the limits of all calls allow in the long run, or that was granted lately if that is higher. `None`
    /// where there is neither: nobody knows what would be slow.
    fn full_rate(&self, resource: &Resource, key: &Label, now: ClusterTime) -> Option<u64> {
        let of_limit = |limit: &Limit| match limit.scope {
            _ if limit.shadow || limit.dimension.is_some() => None,
            Scope::Resource => rate(&limit.kind),
            Scope::Key if key.is_empty() => {
                Some(rate(&limit.kind)?.saturating_mul(resource.keys.len() as u64))
            }
            Scope::Key => rate(&limit.kind),
            Scope::Consumer | Scope::Subject => None,
        };
        let by_limits = resource.limits.iter().filter_map(of_limit).max();
        let fullest = by_limits.max(Some(self.throughput.rate(now))).filter(|rate| *rate > 0);
        fullest.max(self.pace.as_ref().filter(|pace| !pace.is_over(now)).map(Pace::full_rate))
    }
}

/// How a limit that was held comes back: from a share of what it allows in the long run up to that; or, where that is more, to the rate
/// that lets all of it go within the ramp. (A limit of 1,000 a day allows one in 86 s in the long run: the ramp would be over before the
/// second went, and then all the others would go at once.) `None` of slots: nobody knows what would be slow.
pub(crate) fn ramp_of(kind: &LimitKind, rules: &FeedbackRules, began: ClusterTime) -> Option<Pace> {
    let steady = rate(kind).filter(|_| !rules.ramp.is_zero())?;
    // A rate that rises evenly from nothing is half as high on average as in the end.
    let full = steady.max(per_second(2 * kind.amount(), rules.ramp));
    Some(Pace::rising(began, share(steady, rules.ramp_from_percent), full, rules.ramp))
}

/// What the limit allows in the long run.
fn rate(kind: &LimitKind) -> Option<u64> {
    Some(per_second(kind.amount_per_period(), kind.period()?))
}

/// In millionths; at least one, at most what fits.
fn per_second(amount: u64, period: Span) -> u64 {
    let scaled = u128::from(amount) * u128::from(MICROS) * u128::from(NANOS_PER_SECOND);
    let rate = scaled / u128::from(period.0.max(1));
    u64::try_from(rate).unwrap_or(u64::MAX).max(1)
}

/// So many percent, at least one millionth.
fn share(rate: u64, percent: u32) -> u64 {
    ((u128::from(rate) * u128::from(percent.min(100)) / 100) as u64).max(1)
}
