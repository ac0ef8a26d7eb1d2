//! What a permit remembers of each counter it was taken from.

use minicbor::{Decode, Encode};

use crate::model::ClusterTime;

/// What one permit took from one counter, so that it can be corrected later.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Debit {
    #[n(0)]
    pub(super) amount: u64,
    #[n(1)]
    pub(super) place: Place,
}

impl Debit {
    /// How much it weighs by now.
    pub fn amount(&self) -> u64 {
        self.amount
    }
}

/// Where a debit was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) enum Place {
    /// In a bucket, whose debits are numbered.
    #[n(0)]
    Numbered {
        #[n(0)]
        at: ClusterTime,
        #[n(1)]
        number: u64,
    },
    /// In one or two calendar windows, which are known by the wall time they begin at and the period, 0 for days: after a
    /// change of the period another window may begin with the first. Debits of before have no period.
    #[n(1)]
    Calendar {
        #[n(0)]
        first: i64,
        #[n(1)]
        second: Option<i64>,
        #[n(2)]
        period: Option<u64>,
    },
    /// In the window that was opened at `window`.
    #[n(2)]
    FirstRequest {
        #[n(0)]
        window: ClusterTime,
        #[n(1)]
        at: ClusterTime,
    },
    /// In the `index`th sub-bucket, where sub-buckets are `width_ns` wide.
    #[n(3)]
    Sliding {
        #[n(0)]
        width_ns: u64,
        #[n(1)]
        index: u64,
    },
    /// Nowhere any more: it can still grow, but nothing is given back.
    #[n(4)]
    Settled,
}
