//! How long calls have to wait, and for what.

use super::{
    course::Course,
    lane::{Holder, Impossible, Lane},
    slots::SlotPool,
};
use crate::model::{Command, Denial, DenialReason, Outcome, Span, Stamp};

/// Rounds in which limits and slots may push each other further.
const ROUNDS_MAX: usize = 64;

/// How long, and for what.
pub(super) struct Wait {
    pub span: Span,
    pub holder: Option<Holder>,
}

impl Course<'_> {
    /// What holds a single call up in the middle of a wait: a bucket may have begun it, and a closed budget gone on with it.
    pub fn holder_at(&self, middle: Stamp, lane: &Lane) -> Option<Holder> {
        let one = Command::from(lane.together(1));
        self.wait_for_limits(&one, middle).ok().and_then(|wait| wait.holder)
    }

    /// How long until a lane that cannot go now goes on.
    pub fn next(&self, lane: &Lane) -> Result<Wait, Impossible> {
        let chunk = lane.next_chunk();
        let one = self.wait(lane, 1)?;
        let Ok(whole) = self.wait(lane, chunk) else { return Ok(one) };
        // The whole waits for another window: what is left of this one would be lost, window by window.
        let is_of_another = |wait: &Wait| wait.span < whole.span && wait.holder != whole.holder;
        if is_of_another(&one) {
            let part =
                greatest(1, chunk, |calls| self.wait(lane, calls).is_ok_and(|wait| is_of_another(&wait)));
            return self.wait(lane, part);
        }
        let is_faster = |part: u64, wait: &Wait| {
            u128::from(part) * u128::from(whole.span.0) * 4 > u128::from(chunk) * u128::from(wait.span.0) * 5
        };
        // Where limits free evenly, or all at once, a part goes on no faster than the whole.
        if !is_faster(1, &one) {
            return Ok(whole);
        }
        let half = Span(whole.span.0 / 2);
        let sooner = |calls| self.wait(lane, calls).is_ok_and(|wait| wait.span < half);
        let part = greatest(1, chunk, sooner);
        let first = self.wait(lane, part)?;
        Ok(if is_faster(part, &first) { first } else { whole })
    }

    /// How long until so many calls can go together.
    pub fn wait(&self, lane: &Lane, calls: u64) -> Result<Wait, Impossible> {
        let acquire = Command::from(lane.together(calls));
        let slots = self.slots_for(lane, calls);
        let mut after = Span::ZERO;
        let mut longest = Wait { span: Span::ZERO, holder: None };
        for _ in 0..ROUNDS_MAX {
            let at = self.now.after(after);
            let mut more = self.wait_for_limits(&acquire, at)?;
            for pool in &lane.pools {
                let wait = self.wait_for_slots(&self.pools[*pool], slots, lane, at)?;
                if wait.span > more.span {
                    more = wait;
                }
            }
            after = after + more.span;
            if more.span.is_zero() {
                break;
            }
            if more.span > longest.span {
                longest = more;
            }
        }
        Ok(Wait { span: after, ..longest })
    }

    /// Whether so many calls can go together now.
    pub fn fits(&self, lane: &Lane, calls: u64) -> bool {
        let (slots, now) = (self.slots_for(lane, calls), self.now.cluster);
        let free = |pool: &usize| self.pools[*pool].earliest(slots, lane.call_duration, now) == Some(now);
        lane.pools.iter().all(free)
            && self.copy.refuse(self.now, &Command::from(lane.together(calls))).is_none()
    }

    /// How many slots so many calls take.
    pub fn slots_for(&self, lane: &Lane, calls: u64) -> u64 {
        calls.div_ceil(lane.in_a_row).max(1)
    }

    fn wait_for_limits(&self, acquire: &Command, at: Stamp) -> Result<Wait, Impossible> {
        match self.copy.refuse(at, acquire) {
            Some(Ok(Outcome::Denied(denial))) => match denial.retry_after {
                Some(span) => Ok(Wait { span: span.max(Span(1)), holder: Holder::of(&denial) }),
                None => Err(self.never(&denial)),
            },
            Some(Err(rejection)) => Err(Impossible { limit: None, problem: rejection.to_string() }),
            _ => Ok(Wait { span: Span::ZERO, holder: None }),
        }
    }

    fn wait_for_slots(
        &self,
        pool: &SlotPool,
        slots: u64,
        lane: &Lane,
        at: Stamp,
    ) -> Result<Wait, Impossible> {
        let holder = || Holder { limit: pool.limit.clone(), budget: None };
        match pool.earliest(slots, lane.call_duration, at.cluster) {
            Some(when) => Ok(Wait { span: when.since(at.cluster), holder: Some(holder()) }),
            None => Err(Impossible {
                limit: Some(pool.limit.clone()),
                problem: format!("limit `{}` has no slots for it", pool.limit),
            }),
        }
    }

    fn never(&self, denial: &Denial) -> Impossible {
        let problem = match &denial.reason {
            DenialReason::Paused { key, .. } if key.is_empty() => {
                format!("`{}` is paused until somebody resumes it", self.name)
            }
            DenialReason::Paused { key, .. } => format!("key `{key}` is paused until somebody resumes it"),
            DenialReason::KeyUnavailable => "no key that it could use is active".to_owned(),
            DenialReason::BudgetExhausted { budget: Some(budget) } => {
                format!("budget `{budget}` never lets it go")
            }
            _ => "nothing but an order can let it go".to_owned(),
        };
        Impossible { limit: denial.limit.clone(), problem }
    }
}

/// The greatest number from `least` on and below `beyond` that is so, if `least` is and all numbers below one that is are.
pub(super) fn greatest(mut least: u64, mut beyond: u64, so: impl Fn(u64) -> bool) -> u64 {
    while beyond - least > 1 {
        let middle = least + (beyond - least) / 2;
        if so(middle) { least = middle } else { beyond = middle }
    }
    least
}
