//! Live figures of a resource, for people and dashboards.

use minicbor::{Decode, Encode};

use super::{BudgetName, Label, LimitName, PaceStatus, PermitId, Span, StoredResource};

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
    /// One for each budget, in the resource's order.
    #[cbor(n(4), default)]
    pub budgets: Vec<BudgetFigures>,
    /// By name: consumers that hold slots or wait and, of a resource with budgets, those with any use that limits count.
    #[cbor(n(5), default)]
    pub consumers: Vec<ConsumerFigures>,
    /// Requests that wait. The limiter knows of none: whoever has the queue fills in this, and what consumers wait.
    #[cbor(n(6), default)]
    pub waiting: u64,
}

/// The live figures of a budget.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct BudgetFigures {
    /// Which.
    #[n(0)]
    pub budget: BudgetName,
    /// Its schedule lets its consumers acquire now.
    #[n(1)]
    pub open: bool,
    /// When that changes; absent if never.
    #[n(2)]
    pub changes_in: Option<Span>,
    /// What it has of each counter of the limits that it has a share of.
    #[n(3)]
    pub uses: Vec<BudgetUse>,
}

/// What a budget has of one counter of a limit.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct BudgetUse {
    /// Which limit.
    #[n(0)]
    pub limit: LimitName,
    /// The key; empty for the whole resource.
    #[n(1)]
    pub scope_value: Label,
    /// What is set aside for it.
    #[n(2)]
    pub reserve: u64,
    /// What is left of that.
    #[n(3)]
    pub reserve_left: u64,
    /// The most that it gets.
    #[n(4)]
    pub ceiling: u64,
    /// What it uses.
    #[n(5)]
    pub used: u64,
}

/// Who uses a resource.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ConsumerFigures {
    /// May be empty.
    #[n(0)]
    pub consumer: Label,
    /// The budget that it belongs to.
    #[n(1)]
    pub budget: Option<BudgetName>,
    /// Its requests that wait, by priority: low, medium, high.
    #[n(2)]
    pub waiting: [u64; 3],
    /// How long the oldest of them has waited.
    #[n(3)]
    pub oldest_wait: Option<Span>,
    /// What it uses of each limit of which it uses anything, in the resource's order.
    #[n(4)]
    pub uses: Vec<ConsumerUse>,
}

/// What a consumer uses of a limit.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ConsumerUse {
    /// Which.
    #[n(0)]
    pub limit: LimitName,
    /// Over all scope values.
    #[n(1)]
    pub used: u64,
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
    /// In force: as defined, or less where it is tightened.
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
    /// Of what was used since the last period of such use began: by others than the fleet, as the vendor told.
    #[cbor(n(5), default)]
    pub used_by_others: u64,
    /// How much longer nothing of it is granted, because the vendor wants it.
    #[cbor(n(6), default)]
    pub held_for: Span,
    /// After that, while it comes back.
    #[n(7)]
    pub pace: Option<PaceStatus>,
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
