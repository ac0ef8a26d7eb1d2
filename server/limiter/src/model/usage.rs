//! Live figures of a resource, for people and dashboards.

use minicbor::{Decode, Encode};

use super::{Label, LimitName, PermitId, Span, StoredResource};

/// The live figures of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ResourceUsage {
    /// As defined.
    #[n(0)]
    pub stored: StoredResource,
    /// One for each limit, in the resource's order.
    #[n(1)]
    pub limits: Vec<LimitFigures>,
    /// Held slots by limit, scope value and index, at most as many as were asked for.
    #[n(2)]
    pub held: Vec<HeldSlot>,
    /// Permits without slots that can still be settled.
    #[n(3)]
    pub settleable_permits: u64,
}

/// The live figures of a limit.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LimitFigures {
    /// Which.
    #[n(0)]
    pub limit: LimitName,
    /// Those with the least available first.
    #[n(1)]
    pub counters: Vec<CounterFigures>,
    /// How many there are.
    #[n(2)]
    pub scope_values: u64,
}

/// The live figures of a counter.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CounterFigures {
    /// Empty for the whole resource.
    #[n(0)]
    pub scope_value: Label,
    /// As defined.
    #[n(1)]
    pub amount: u64,
    /// In use.
    #[n(2)]
    pub used: u64,
    /// To be had now; negative while in debt.
    #[n(3)]
    pub available: i64,
    /// Until it is as good as fresh, if nobody acquires.
    #[n(4)]
    pub full_in: Span,
}

/// A slot that is held.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct HeldSlot {
    /// Of which limit.
    #[n(0)]
    pub limit: LimitName,
    /// Of which scope value.
    #[n(1)]
    pub scope_value: Label,
    /// Which place.
    #[n(2)]
    pub index: u32,
    /// Its fencing generation.
    #[n(3)]
    pub generation: u64,
    /// By which permit.
    #[n(4)]
    pub permit: PermitId,
    /// Whose.
    #[n(5)]
    pub consumer: Label,
    /// On whose behalf.
    #[n(6)]
    pub subject: Label,
    /// What for.
    #[n(7)]
    pub operation: Label,
    /// Since when.
    #[n(8)]
    pub held_for: Span,
    /// What is left; zero in grace or quarantine.
    #[n(9)]
    pub lease_left: Span,
}
