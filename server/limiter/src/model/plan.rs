//! Work that has not begun, and how long it would take.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use super::{BudgetCause, Dimension, Label, LimitName, Priority, Rejection, ResourceName, Span, WallTime};

/// Work to plan.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Work {
    /// Who does it; may be empty.
    #[n(0)]
    pub consumer: Label,
    /// Who waits with a lower one does not go before.
    #[n(1)]
    pub priority: Priority,
    /// Go on side by side.
    #[n(2)]
    pub steps: Vec<WorkStep>,
}

/// Calls to one resource.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct WorkStep {
    /// Which.
    #[n(0)]
    pub resource: ResourceName,
    /// What for; selects limits.
    #[n(1)]
    pub operation: Label,
    /// In all; at least 1.
    #[n(2)]
    pub calls: u64,
    /// Of one call, as [`super::Acquire::cost`].
    #[n(3)]
    pub cost: u64,
    /// Of one call.
    #[n(4)]
    pub amounts: BTreeMap<Dimension, u64>,
    /// The credential wanted; empty: all of them.
    #[n(5)]
    pub key: Label,
    /// How long a call holds its slots.
    #[n(6)]
    pub call_duration: Span,
}

/// Requests of one consumer that wait for a resource already and go before the work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// For which.
    pub resource: ResourceName,
    /// Whose; may be empty.
    pub consumer: Label,
    /// How many.
    pub requests: u64,
}

/// How long some work would take.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct WorkEstimate {
    /// Until the last step is done; absent if one cannot be done.
    #[n(0)]
    pub duration: Option<Span>,
    /// When that is, by the cluster's wall clock.
    #[n(1)]
    pub done_at: Option<WallTime>,
    /// The step that takes longest, or, if there is one, the first that cannot be done.
    #[n(2)]
    pub binding_step: u32,
    /// One for each step.
    #[n(3)]
    pub steps: Vec<StepEstimate>,
}

/// How long one step would take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct StepEstimate {
    /// In all.
    #[n(0)]
    pub calls: u64,
    /// Until the last of them can go; where slots are limited, until it has returned. Absent if they cannot be done.
    #[n(1)]
    pub duration: Option<Span>,
    /// What holds them up longest, if anything does; of a step that cannot be done, what forbids it.
    #[n(2)]
    pub limit: Option<LimitName>,
    /// A budget is what holds them up there.
    #[n(3)]
    pub budget_cause: Option<BudgetCause>,
    /// For people: why they cannot be done.
    #[n(4)]
    pub impossible: Option<String>,
    /// Until the first can go; absent if they cannot be done.
    #[n(5)]
    pub first_call_after: Option<Span>,
    /// Requests that go before.
    #[n(6)]
    pub waiting_ahead: u64,
}

/// Work that makes no sense to its resources.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct WorkRejection {
    /// Which step, by its position.
    #[n(0)]
    pub step: u32,
    /// [`Rejection::ResourceNotFound`], or [`Rejection::Invalid`] with the field as [`super::Acquire`] has it.
    #[n(1)]
    pub rejection: Rejection,
}
