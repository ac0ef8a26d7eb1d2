//! Concurrency: a number of slots, held under leases.
//!
//! **Guarantee:** nothing is granted while as many slots count as there are. A slot counts from `counts_after` after its
//! grant until it is released or reclaimed; with `counts_after` of zero, the usual case, at most `slots` are therefore
//! held at any instant. With a longer one, more may be held, as at a vendor who counts only long calls.
//!
//! A slot is known by the smallest index that was free. Only its holder extends or frees it: every change names the
//! permit, so a permit whose slot was reclaimed cannot touch the next holder's.
//!
//! Everything is O(log n) in the slots held, besides [`Slots::earliest`], which walks over the slots that must end first.
//! A clone copies all slots: with the most there can be, 100,000, that is some milliseconds.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::model::{ClusterTime, Concurrency, PermitId, Span};

/// The slots of one concurrency limit for one scope value. Times must not go backwards from call to call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    held: BTreeMap<u32, HeldBy>,
    /// The same, by when they are reclaimed.
    by_reclaim: BTreeSet<(ClusterTime, u32)>,
    /// Those that do not count yet, by when they were granted.
    pending: BTreeSet<(ClusterTime, u32)>,
    /// Indices below the greatest held that are free.
    gaps: BTreeSet<u32>,
}

/// Who holds a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct HeldBy {
    /// Its holder, which is also its fencing generation.
    #[n(0)]
    pub permit: PermitId,
    /// Since when.
    #[n(1)]
    pub granted_at: ClusterTime,
    /// When it is taken back unless it is extended: the end of the lease, and grace and quarantine.
    #[n(2)]
    pub reclaim_at: ClusterTime,
    /// It was seen to be held for `counts_after`.
    #[n(3)]
    counts: bool,
}

impl HeldBy {
    fn counts_from(&self, terms: &Concurrency) -> ClusterTime {
        if self.counts { self.granted_at } else { self.granted_at + terms.counts_after }
    }

    fn counts_at(&self, terms: &Concurrency, now: ClusterTime) -> bool {
        self.counts_from(terms) <= now && now < self.reclaim_at
    }
}

impl Slots {
    /// The first moment from `from` on at which one more may be held if none is released, extended or added: `from`
    /// itself when there is room now. `None` when there are no slots at all.
    pub fn earliest(&self, terms: &Concurrency, from: ClusterTime) -> Option<ClusterTime> {
        let most = u64::from(terms.slots);
        let mut counting = self.counting(terms, from);
        if counting < most {
            return Some(from);
        }
        // From here on the count rises as pending slots begin to count, and falls only when slots are reclaimed.
        let mut pending = self.pending().skip_while(|held| held.counts_from(terms) <= from).peekable();
        let mut reclaims = self.by_reclaim.range((from + Span(1), 0)..).peekable();
        while let Some(&&(moment, _)) = reclaims.peek() {
            while let Some(held) = pending.next_if(|held| held.counts_from(terms) <= moment) {
                counting += u64::from(held.counts_from(terms) < held.reclaim_at);
            }
            while let Some((_, index)) = reclaims.next_if(|(at, _)| *at == moment) {
                let held = &self.held[index];
                counting -= u64::from(held.counts_from(terms) < held.reclaim_at);
            }
            if counting < most {
                return Some(moment);
            }
        }
        None
    }

    /// Holds the smallest free index from now until it is reclaimed, whether or not there is room: ask
    /// [`earliest`](Self::earliest) first. Slots that are due must have been [reclaimed](Self::reclaim) before.
    pub fn hold(
        &mut self,
        terms: &Concurrency,
        permit: PermitId,
        now: ClusterTime,
        reclaim_at: ClusterTime,
    ) -> u32 {
        self.let_count(terms, now);
        let index = self.gaps.pop_first().unwrap_or_else(|| self.next_index());
        let counts = terms.counts_after.is_zero();
        self.insert(index, HeldBy { permit, granted_at: now, reclaim_at, counts });
        index
    }

    /// Moves the end of a slot, if the permit still holds it. Returns whether it does.
    pub fn extend(&mut self, index: u32, permit: PermitId, reclaim_at: ClusterTime) -> bool {
        let Some(held) = self.held.get_mut(&index).filter(|held| held.permit == permit) else { return false };
        self.by_reclaim.remove(&(held.reclaim_at, index));
        self.by_reclaim.insert((reclaim_at, index));
        held.reclaim_at = reclaim_at;
        true
    }

    /// Frees a slot, if the permit still holds it. Returns whether it did.
    pub fn free(&mut self, index: u32, permit: PermitId) -> bool {
        let held = self.held.get(&index).is_some_and(|held| held.permit == permit);
        if held {
            self.remove(index);
        }
        held
    }

    /// Frees the slots that are due by now. Returns how many.
    pub fn reclaim(&mut self, now: ClusterTime) -> usize {
        let mut reclaimed = 0;
        while let Some(&(_, index)) = self.by_reclaim.first().filter(|(at, _)| *at <= now) {
            self.remove(index);
            reclaimed += 1;
        }
        reclaimed
    }

    /// When the next slot is due.
    pub fn next_due(&self) -> Option<ClusterTime> {
        self.by_reclaim.first().map(|(at, _)| *at)
    }

    /// The slot of this index.
    pub fn get(&self, index: u32) -> Option<&HeldBy> {
        self.held.get(&index)
    }

    /// All that are held, by index.
    pub fn held(&self) -> impl Iterator<Item = (u32, &HeldBy)> {
        self.held.iter().map(|(index, held)| (*index, held))
    }

    /// Whether none is held: as good as fresh.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// How many count now.
    pub fn counting(&self, terms: &Concurrency, now: ClusterTime) -> u64 {
        let seen_to_count = self.held.len() - self.pending.len();
        let due =
            self.by_reclaim.range(..=(now, u32::MAX)).filter(|(_, index)| self.held[index].counts).count();
        let count_by_now = self.pending().take_while(|held| held.counts_from(terms) <= now);
        (seen_to_count - due + count_by_now.filter(|held| held.counts_at(terms, now)).count()) as u64
    }

    /// How many more may be held now; negative after the number of slots was lowered, or when pending ones began to count.
    pub fn available(&self, terms: &Concurrency, now: ClusterTime) -> i64 {
        i64::from(terms.slots).saturating_sub_unsigned(self.counting(terms, now))
    }

    /// How long until none is held, provided that none is extended or added.
    pub fn fresh_in(&self, now: ClusterTime) -> Span {
        self.by_reclaim.last().map_or(Span::ZERO, |(at, _)| at.since(now))
    }

    /// The terms changed: decides anew which slots count. The ends of the slots stay as they are.
    pub fn carry(&mut self, terms: &Concurrency, now: ClusterTime) {
        for held in self.held.values_mut() {
            held.counts = held.granted_at + terms.counts_after <= now;
        }
        *self = Slots::from(std::mem::take(&mut self.held));
    }

    fn pending(&self) -> impl Iterator<Item = &HeldBy> {
        self.pending.iter().map(|(_, index)| &self.held[index])
    }

    /// Marks the pending slots that count by now, so that no later call has to walk over them.
    fn let_count(&mut self, terms: &Concurrency, now: ClusterTime) {
        while let Some(&(granted_at, index)) = self.pending.first()
            && granted_at + terms.counts_after <= now
        {
            self.pending.pop_first();
            if let Some(held) = self.held.get_mut(&index) {
                held.counts = true;
            }
        }
    }

    /// The index after the greatest that is held: free whenever there is no gap.
    fn next_index(&self) -> u32 {
        self.held.last_key_value().map_or(0, |(greatest, _)| greatest + 1)
    }

    fn insert(&mut self, index: u32, held: HeldBy) {
        self.by_reclaim.insert((held.reclaim_at, index));
        if !held.counts {
            self.pending.insert((held.granted_at, index));
        }
        self.held.insert(index, held);
    }

    fn remove(&mut self, index: u32) {
        let Some(held) = self.held.remove(&index) else { return };
        self.by_reclaim.remove(&(held.reclaim_at, index));
        self.pending.remove(&(held.granted_at, index));
        self.gaps.insert(index);
        // Gaps lie below the greatest index that is held.
        while self.gaps.last().is_some_and(|gap| *gap >= self.next_index()) {
            self.gaps.pop_last();
        }
    }
}

impl From<BTreeMap<u32, HeldBy>> for Slots {
    fn from(held: BTreeMap<u32, HeldBy>) -> Slots {
        let mut slots = Slots::default();
        for (index, held) in held {
            slots.gaps.extend(slots.next_index()..index);
            slots.insert(index, held);
        }
        slots
    }
}

// What follows from who holds what is left out.
impl<C> Encode<C> for Slots {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        self.held.encode(e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for Slots {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        BTreeMap::decode(d, ctx).map(Slots::from)
    }
}
