//! Other resources that would do as well.

use std::{borrow::Cow, collections::BTreeMap, ops::RangeInclusive};

use minicbor::{Decode, Encode};

use super::{Acquire, Dimension, Label, ResourceName, Violation};

/// The most alternatives of a request.
pub const MAX_ALTERNATIVES: usize = 8;

/// Another resource that would do as well as the request's own. Whatever is not said here is as in the request.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Alternative {
    /// Which account; differs from those before it.
    #[n(0)]
    pub resource: ResourceName,
    /// What for there; selects limits.
    #[n(1)]
    pub operation: Label,
    /// What it costs there, as [`Acquire::cost`].
    #[n(2)]
    pub cost: u64,
    /// What it weighs there per dimension, each at most [`super::MAX_AMOUNT`].
    #[n(3)]
    pub amounts: BTreeMap<Dimension, u64>,
    /// The credential wanted there; empty: the one with the most headroom.
    #[n(4)]
    pub key: Label,
}

impl Acquire {
    /// The resources that would do, in the order of preference: 0 is the request's own, then its alternatives.
    pub fn choices(&self) -> RangeInclusive<u32> {
        0..=u32::try_from(self.alternatives.len()).unwrap_or(u32::MAX)
    }

    /// The request as it is put to one of its resources: 0 is its own, then its alternatives. Alternatives that it still
    /// has mean nothing there. `None`: there are fewer of them.
    pub fn choice(&self, alternative: u32) -> Option<Cow<'_, Acquire>> {
        let Some(position) = alternative.checked_sub(1) else { return Some(Cow::Borrowed(self)) };
        let Alternative { resource, operation, cost, amounts, key } =
            self.alternatives.get(usize::try_from(position).ok()?)?.clone();
        let Acquire { consumer, subject, priority, lease, request_id, coalesce_key, .. } = self.clone();
        Some(Cow::Owned(Acquire {
            resource,
            operation,
            cost,
            amounts,
            consumer,
            subject,
            key,
            priority,
            lease,
            request_id,
            alternatives: Vec::new(),
            coalesce_key,
        }))
    }
}

impl Violation {
    /// The same, found when the request was put to that of its resources: a field that an alternative states for itself
    /// is named as the alternative's.
    #[must_use]
    pub fn of_alternative(self, alternative: u32) -> Violation {
        let Some(position) = alternative.checked_sub(1) else { return self };
        let stated = |name: &str| self.field.starts_with(name);
        match ["resource", "operation", "cost", "amounts", "key"].into_iter().any(stated) {
            true => Violation { field: format!("alternatives[{position}].{}", self.field), ..self },
            false => Violation { problem: format!("{} (alternatives[{position}])", self.problem), ..self },
        }
    }
}
