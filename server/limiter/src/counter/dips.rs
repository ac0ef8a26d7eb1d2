//! How much of an old debit a bucket can still give back.
//!
//! A bucket that was full has thrown refill away. A debit made before that moment was paid for with refill that would
//! have been lost, so giving it back afterwards would create tokens: with capacity 10, take 5, wait until full again,
//! take 10, give back the 5, take them, and 15 were granted in an instant. What a debit can give back is the difference
//! between the bucket as it is and as it would be had the debit never been made. That difference begins as the debit's
//! amount and shrinks when the bucket without the debit is full, so it is
//!
//! > min(amount, the least that was spent at any time since the debit).
//!
//! What is spent only falls between two debits, so its minima lie just before debits, and for all debits older than a
//! dip only the deepest dip since matters. A stack of dips that rise in depth order answers the question exactly
//! (the classic stack of suffix minima: each debit pops the dips that it undercuts). The stack is bounded; where it is
//! full the two youngest dips become one with the lesser of what was spent, which gives back less, never more.

use minicbor::{Decode, Encode};

/// Dips remembered. So many debits can follow each other without a refill in between before the youngest share one dip.
const MOST: usize = 64;

/// The dips of a bucket, in units of the bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct Dips {
    /// Debits numbered below it were refilled wholly.
    #[n(0)]
    refilled_before: u64,
    /// Both fields rise.
    #[n(1)]
    stack: Vec<Dip>,
}

/// No debit numbered below `before` can give back more than `spent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
struct Dip {
    #[n(0)]
    before: u64,
    #[n(1)]
    spent: u128,
}

impl Dips {
    /// So much is spent just before the debit of number `before`.
    pub(super) fn record(&mut self, before: u64, spent: u128) {
        if spent == 0 {
            self.refilled_before = before;
            self.stack.clear();
            return;
        }
        while self.stack.last().is_some_and(|dip| dip.spent >= spent) {
            self.stack.pop();
        }
        if self.stack.len() < MOST {
            self.stack.push(Dip { before, spent });
        } else if let Some(youngest) = self.stack.last_mut() {
            youngest.before = before;
        }
    }

    /// Takes up to `surplus` off debit `number`, as if it had been smaller from the beginning. Returns how much that is
    /// worth by what was spent before later debits; the caller knows what is spent now.
    pub(super) fn give_back(&mut self, number: u64, surplus: u128) -> u128 {
        if number < self.refilled_before {
            return 0;
        }
        let first = self.stack.partition_point(|dip| dip.before <= number);
        let Some(deepest) = self.stack.get(first) else { return surplus };
        let given = surplus.min(deepest.spent);
        for dip in &mut self.stack[first..] {
            dip.spent -= given;
        }
        let depth = self.stack[first].spent;
        let undercut = self.stack[..first].partition_point(|dip| dip.spent < depth);
        self.stack.drain(undercut..first);
        given
    }

    /// The dips in other units, rounded down.
    pub(super) fn rescaled(&self, rescale: impl Fn(u128) -> u128) -> Dips {
        let stack =
            self.stack.iter().map(|dip| Dip { before: dip.before, spent: rescale(dip.spent) }).collect();
        Dips { refilled_before: self.refilled_before, stack }
    }
}
