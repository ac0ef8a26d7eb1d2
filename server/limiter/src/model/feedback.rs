//! What vendors answer, as the limiter heeds it: the rules of a resource, what is told of a call, and what came of it.

use minicbor::{Decode, Encode};

use super::{
    CallOutcome, CircuitStatus, HoldBack, Label, LimitName, Pause, PermitId, Resource, ResourceName, Span,
    validate::Check,
};

/// How a resource heeds what its vendor answers.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct FeedbackRules {
    /// Whose preset reads the answers, unless they name another; may be empty.
    #[n(0)]
    pub vendor: Label,
    /// After a pause that the vendor wanted, and after an outage, how long it takes to come back to the full rate. Zero: at once.
    #[n(1)]
    pub ramp: Span,
    /// The share of the full rate at which that begins.
    #[n(2)]
    pub ramp_from_percent: u32,
    /// How long the pace would take to rise from nothing to the full rate.
    #[n(3)]
    pub pace_recovery: Span,
    /// The least share of the full rate to which refusals lower the pace.
    #[n(4)]
    pub pace_floor_percent: u32,
    /// The most of a limit that figures in answers can take away: by an amount below ours, by the use of others within one period, and by
    /// calls that cost more than was acquired for them within one. 0: they are not heeded.
    #[n(5)]
    pub trusted_percent: u32,
    /// The longest that one answer makes everybody wait.
    #[n(6)]
    pub longest_wait: Span,
}

impl FeedbackRules {
    /// The longest ramp, and the longest recovery.
    pub const LONGEST: Span = Span::from_secs(24 * 3600);
    /// The shortest recovery.
    pub const SHORTEST_RECOVERY: Span = Span::from_secs(1);
}

impl Default for FeedbackRules {
    /// Within 10 s back from a tenth; five minutes for the whole way up, and never below a tenth; half is trusted; an hour at most.
    fn default() -> FeedbackRules {
        FeedbackRules {
            vendor: Label::default(),
            ramp: Span::from_secs(10),
            ramp_from_percent: 10,
            pace_recovery: Span::from_secs(300),
            pace_floor_percent: 10,
            trusted_percent: 50,
            longest_wait: HoldBack::LONGEST,
        }
    }
}

impl Resource {
    pub(super) fn check_feedback(&self, check: &mut Check) {
        const PATH: &str = "feedback";
        let rules = &self.feedback;
        check.range(PATH, "ramp", rules.ramp, Span::ZERO, FeedbackRules::LONGEST);
        check.range(PATH, "ramp_from_percent", rules.ramp_from_percent, 1, 100);
        let (shortest, longest) = (FeedbackRules::SHORTEST_RECOVERY, FeedbackRules::LONGEST);
        check.range(PATH, "pace_recovery", rules.pace_recovery, shortest, longest);
        check.range(PATH, "pace_floor_percent", rules.pace_floor_percent, 1, 100);
        check.range(PATH, "trusted_percent", rules.trusted_percent, 0, 100);
        check.range(PATH, "longest_wait", rules.longest_wait, Pause::SHORTEST, HoldBack::LONGEST);
    }
}

/// How a call ended, told beside its permit's release or without it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Report {
    /// Which resource was called.
    #[n(0)]
    pub resource: ResourceName,
    /// With which key; empty: that of the permit if it is remembered, else the resource as a whole is meant.
    #[n(1)]
    pub key: Label,
    /// The permit of the call, also one that has ended; it tells in which order calls were permitted.
    #[n(2)]
    pub permit: Option<PermitId>,
    /// How the call ended.
    #[n(3)]
    pub outcome: CallOutcome,
    /// What the vendor said.
    #[n(4)]
    pub answer: VendorAnswer,
    /// What the call was for. This and the next two find the limits of some calls that the answer is about where the permit is not
    /// remembered; empty: not told. Of a permit that is, its own are taken.
    #[cbor(n(5), default)]
    pub operation: Label,
    /// Who called.
    #[cbor(n(6), default)]
    pub consumer: Label,
    /// On whose behalf.
    #[cbor(n(7), default)]
    pub subject: Label,
}

/// What a vendor said about its limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct VendorAnswer {
    /// How long it wants nothing, from now on: [`Pause::SHORTEST`] to [`HoldBack::LONGEST`]. No more of it is heeded than
    /// [`FeedbackRules::longest_wait`].
    #[n(0)]
    pub wait: Option<Span>,
    /// For people, why.
    #[n(1)]
    pub reason: Label,
    /// The limits because of which it refused the call. If all are narrower than the key, only what they apply to waits.
    #[cbor(n(2), default)]
    pub exhausted: Vec<LimitName>,
    /// What it said of its limits; at most [`Resource::MAX_LIMITS`].
    #[cbor(n(3), default)]
    pub limits: Vec<LimitTold>,
    /// What it counted the call as, if that is more than was acquired: a released permit of a call that was served weighs as much on
    /// limits without a dimension, unless its holder knows better.
    #[n(4)]
    pub cost: Option<u64>,
}

/// What a vendor said of a limit.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LimitTold {
    /// Which.
    #[n(0)]
    pub limit: LimitName,
    /// Its own amount: at least 1.
    #[n(1)]
    pub amount: Option<u64>,
    /// What was left of it when it answered.
    #[n(2)]
    pub remaining: Option<u64>,
}

/// What came of what a vendor answered, as far as it lasts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct VendorStatus {
    /// By key, as far as the vendor is not as well as can be.
    #[n(0)]
    pub conditions: Vec<VendorCondition>,
    /// The limits that are in force with less than is defined, or of which the vendor says something else, in the resource's order.
    #[n(1)]
    pub tightened: Vec<TightenedLimit>,
}

/// What is to be told of a key, or of a resource without keys, because of what its vendor answered.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct VendorCondition {
    /// Which key; empty: the resource as a whole.
    #[n(0)]
    pub key: Label,
    /// Unless it is closed and nothing has failed lately.
    #[n(1)]
    pub circuit: Option<CircuitStatus>,
    /// While permits are granted more slowly than the limits allow.
    #[n(2)]
    pub pace: Option<PaceStatus>,
}

/// A rate that rises. Rates are millionths of a unit of cost a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PaceStatus {
    /// Now.
    #[n(0)]
    pub rate: u64,
    /// In the end.
    #[n(1)]
    pub full_rate: u64,
    /// Until then.
    #[n(2)]
    pub full_in: Span,
    /// Until the next permit.
    #[n(3)]
    pub next_in: Span,
    /// What it came of. `None`: it began before this was kept.
    #[n(4)]
    pub cause: Option<PaceCause>,
}

/// What a pace comes of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum PaceCause {
    /// The vendor wanted a pause.
    #[n(0)]
    Pause,
    /// A circuit has closed.
    #[n(1)]
    Outage,
    /// The vendor refused calls because of its limits.
    #[n(2)]
    Refusals,
}

/// A limit that the vendor says is not as its owner defined it. Less of it is granted if it said less, as far as it is trusted; more
/// never is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TightenedLimit {
    /// Which.
    #[n(0)]
    pub limit: LimitName,
    /// As defined.
    #[n(1)]
    pub defined: u64,
    /// In force.
    #[n(2)]
    pub amount: u64,
    /// What the vendor said last; absent if that was before it was remembered.
    #[n(3)]
    pub told: Option<AmountTold>,
}

/// A limit's amount, as its vendor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AmountTold {
    /// Of a token bucket what is refilled in a period.
    #[n(0)]
    pub amount: u64,
    /// How long ago it said so last.
    #[n(1)]
    pub ago: Span,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_from_before_it_told_who_called_is_read() {
        let resource = ResourceName::new("acme").unwrap();
        let (key, permit, outcome, answer) =
            (Label::default(), Some(PermitId(7)), CallOutcome::Throttled, VendorAnswer::default());
        let before = minicbor::to_vec((&resource, &key, permit, outcome, &answer)).unwrap();
        let (operation, consumer, subject) = Default::default();
        let report = Report { resource, key, permit, outcome, answer, operation, consumer, subject };
        assert_eq!(minicbor::decode::<Report>(&before).unwrap(), report);
        assert_eq!(minicbor::decode::<Report>(&minicbor::to_vec(&report).unwrap()).unwrap(), report);
    }
}
