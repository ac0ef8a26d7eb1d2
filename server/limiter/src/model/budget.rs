//! Budgets: shares of a resource's limits by consumer, as its owner defines them.

use minicbor::{Decode, Encode};

use super::{Label, LimitName, Span, TimeZoneName};

/// A share of the limits for some consumers, who have it together.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Budget {
    /// Use is carried over changes of the resource by this name.
    #[n(0)]
    pub name: BudgetName,
    /// Patterns of the consumers, in the language of [`super::Limit::operations`]; none when `unbudgeted`.
    #[n(1)]
    pub consumers: Vec<Label>,
    /// It is for all consumers that no patterns match.
    #[n(2)]
    pub unbudgeted: bool,
    /// How often each of its consumers has its turn among those that wait, compared with others.
    #[n(3)]
    pub weight: u32,
    /// At most one for each limit; of a limit that is not here it has what all others leave.
    #[n(4)]
    pub shares: Vec<BudgetShare>,
    /// When its consumers may acquire; absent: always.
    #[n(5)]
    pub schedule: Option<Schedule>,
}

/// Names a budget. The rules are those of limits' names.
pub type BudgetName = LimitName;

/// A budget's share of one limit, in percent of its amount, rounded down.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct BudgetShare {
    /// Of which limit.
    #[n(0)]
    pub limit: LimitName,
    /// What its consumers can always have.
    #[n(1)]
    pub reserve_percent: u32,
    /// The most that they get together.
    #[n(2)]
    pub ceiling_percent: u32,
}

/// Hours of the week.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Schedule {
    /// Whose hours.
    #[n(0)]
    pub time_zone: TimeZoneName,
    /// They may overlap.
    #[n(1)]
    pub open: Vec<OpenHours>,
}

/// Some hours of some days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct OpenHours {
    /// On which days: bit 0 is Monday, bit 6 Sunday.
    #[n(0)]
    pub weekdays: u8,
    /// From this minute of the day on: 0 to 1439.
    #[n(1)]
    pub from: u16,
    /// Until this minute of the day: 1 to 1440; not after `from`: of the next day.
    #[n(2)]
    pub to: u16,
}

/// How requests wait for a resource's permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Queueing {
    /// Requests that wait at a time.
    #[n(0)]
    pub max_waiters: u32,
    /// The same for each consumer.
    #[n(1)]
    pub max_waiters_per_consumer: u32,
    /// Who has waited for so long gets a share of the permits whatever its priority.
    #[n(2)]
    pub ageing: Span,
}

impl Default for Queueing {
    fn default() -> Self {
        Queueing { max_waiters: 10_000, max_waiters_per_consumer: 5_000, ageing: Span::from_secs(30) }
    }
}

/// How a budget stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum BudgetCause {
    /// Its own share is used up.
    #[n(0)]
    Ceiling,
    /// What is left is kept for other budgets.
    #[n(1)]
    Reserve,
    /// It is closed at this hour.
    #[n(2)]
    Schedule,
}
