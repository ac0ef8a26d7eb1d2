//! Permits that hold slots or can still be settled.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use smallvec::SmallVec;

use super::{BudgetDebit, CowMap, LimitId, ShareHold, Shared, Spare};
use crate::{
    counter::Debit,
    model::{
        COALESCED_GRACE, ClusterTime, CoalesceKey, Dimension, Label, PermitId, RequestId, ResourceName, Span,
    },
};

/// What a permit was debited: few resources have more limits.
pub(crate) type Debits = SmallVec<[Debited; 4]>;

/// The slots that a permit holds.
pub(crate) type Holds = SmallVec<[Hold; 1]>;

/// A permit as long as something depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Permit {
    #[n(0)]
    pub resource: ResourceName,
    #[n(1)]
    pub granted_at: ClusterTime,
    /// From then on it is ended: its lease has run out, or the time to settle it is over.
    #[n(2)]
    pub ends_at: ClusterTime,
    /// It holds slots or a coalesced call under a lease. Without: the client was told of neither, and nothing can be renewed.
    #[n(3)]
    pub leased: bool,
    #[n(4)]
    pub operation: Label,
    #[n(5)]
    pub key: Label,
    #[n(6)]
    pub consumer: Label,
    #[n(7)]
    pub subject: Label,
    /// As acquired.
    #[n(8)]
    pub amounts: BTreeMap<Dimension, u64>,
    #[cbor(n(9), with = "crate::model::inline")]
    pub debits: Debits,
    #[cbor(n(10), with = "crate::model::inline")]
    pub holds: Holds,
    #[n(11)]
    pub request_id: Option<RequestId>,
    /// Others wait for what becomes of its call.
    #[n(14)]
    pub coalesce_key: Option<CoalesceKey>,
    /// That something was wrong with its call was told before its release.
    #[cbor(n(15), default, skip_if = "std::ops::Not::not")]
    pub reported: bool,
}

/// What one limit was debited.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Debited {
    #[n(0)]
    pub limit: LimitId,
    #[n(1)]
    pub scope_value: Label,
    #[n(2)]
    pub debit: Debit,
    /// Of a resource with budgets.
    #[n(3)]
    pub budget: Option<Box<BudgetDebit>>,
}

/// The slot held of one limit.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Hold {
    #[n(0)]
    pub limit: LimitId,
    #[n(1)]
    pub scope_value: Label,
    #[n(2)]
    pub index: u32,
    /// How long after the end of the lease the slot is kept: grace and quarantine.
    #[n(3)]
    pub kept_for: Span,
    /// Its place in the share of the holder's budget, if that has one.
    #[n(4)]
    pub share: Option<ShareHold>,
}

impl Permit {
    /// When the last of its slots is reclaimed, and its call is another's to make, unless it is released or renewed.
    pub(crate) fn reclaimed_at(&self) -> ClusterTime {
        let without_slots = if self.coalesce_key.is_some() { COALESCED_GRACE } else { Span::ZERO };
        self.ends_at + self.holds.iter().map(|hold| hold.kept_for).max().unwrap_or(without_slots)
    }
}

/// Permits without slots that are remembered for settlement at most, over all resources; the oldest is forgotten first. The
/// public API states it.
pub(crate) const MAX_SETTLEABLE_IN_ALL: usize = if cfg!(test) { 1_000 } else { 1_000_000 };

/// Permits with a lease at a time, over all resources, those included whose slots are kept in grace or quarantine. The
/// public API states it.
pub(crate) const MAX_LEASED_IN_ALL: usize = if cfg!(test) { 1_000 } else { 1_000_000 };

/// All permits, and when they end.
///
/// A lease that runs out ends its permit at once, but the record stays while its slots are kept in grace or quarantine,
/// so that people can see who holds them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Permits {
    /// Records are large and go in the order in which they came: behind a pointer, moving up what follows is cheap.
    #[n(0)]
    leased: CowMap<PermitId, Shared<Permit>>,
    /// Those without a lease, apart: the oldest must be known.
    #[cbor(n(3), default)]
    settleable: CowMap<PermitId, Shared<Permit>>,
    /// Leases by their end.
    #[n(1)]
    leases: CowMap<(ClusterTime, PermitId), ()>,
    /// Records that nothing depends on any more, by the moment since which.
    #[n(2)]
    forgets: CowMap<(ClusterTime, PermitId), ()>,
    #[cbor(skip)]
    spare: Spare<Permit>,
}

impl Permits {
    pub(crate) fn len(&self) -> usize {
        self.leased.len() + self.settleable.len()
    }

    pub(crate) fn leased(&self) -> usize {
        self.leased.len()
    }

    /// Frees them, and asks for a `rest` after every few.
    pub(crate) fn free_with_rests(self, rest: &mut impl FnMut()) {
        self.leased.free_with_rests(rest);
        self.settleable.free_with_rests(rest);
        self.leases.free_with_rests(rest);
        self.forgets.free_with_rests(rest);
    }

    /// Also of a permit that has ended, while its record lasts.
    pub(crate) fn get(&self, id: PermitId) -> Option<&Permit> {
        self.settleable.get(&id).or_else(|| self.leased.get(&id)).map(|permit| &**permit)
    }

    /// The permit, unless it has ended. Does not depend on how far the clearing of ended ones has come.
    pub(crate) fn live(&self, id: PermitId, now: ClusterTime) -> Option<&Permit> {
        self.get(id).filter(|permit| now < permit.ends_at)
    }

    pub(crate) fn insert(&mut self, id: PermitId, permit: Permit) {
        if permit.leased {
            self.leases.insert((permit.ends_at, id), ());
            self.leased.insert(id, self.spare.fill(permit));
        } else {
            self.forgets.insert((permit.reclaimed_at(), id), ());
            self.settleable.insert(id, self.spare.fill(permit));
        }
    }

    pub(crate) fn remove(&mut self, id: PermitId) -> Option<Shared<Permit>> {
        let permit = self.settleable.remove(&id).or_else(|| self.leased.remove(&id))?;
        let has_lease = permit.leased && self.leases.remove(&(permit.ends_at, id)).is_some();
        if !has_lease {
            self.forgets.remove(&(permit.reclaimed_at(), id));
        }
        Some(permit)
    }

    /// Removes a record that nobody asks for any more.
    pub(crate) fn drop_record(&mut self, id: PermitId) {
        if let Some(permit) = self.remove(id) {
            self.spare.keep(permit);
        }
    }

    /// Takes back a record that was removed, for the next permit.
    pub(crate) fn reuse(&mut self, permit: Shared<Permit>) {
        self.spare.keep(permit);
    }

    /// How a permit's call ended is told: whether with trouble. Returns whether trouble was told before; of a permit that is not
    /// remembered, nothing is.
    pub(crate) fn note_report(&mut self, id: PermitId, is_trouble: bool) -> bool {
        let permit = self.settleable.get_mut(&id).or_else(|| self.leased.get_mut(&id));
        let Some(permit) = permit else { return false };
        let was_told = permit.reported;
        permit.reported |= is_trouble;
        was_told
    }

    /// Moves the end of a lease.
    pub(crate) fn extend(&mut self, id: PermitId, ends_at: ClusterTime) {
        if let Some(permit) = self.leased.get_mut(&id) {
            self.leases.remove(&(permit.ends_at, id));
            permit.ends_at = ends_at;
            self.leases.insert((ends_at, id), ());
        }
    }

    /// When the next lease runs out.
    pub(crate) fn next_due(&self) -> Option<ClusterTime> {
        self.leases.first().map(|(&(due, _), ())| due)
    }

    /// Ends the next lease that has run out. Its record stays until its slots are reclaimed.
    pub(crate) fn expire_next(&mut self, now: ClusterTime) -> Option<(PermitId, &Permit)> {
        let (&(due, id), ()) = self.leases.first()?;
        if due > now {
            return None;
        }
        self.leases.remove(&(due, id));
        let permit = self.leased.get(&id)?;
        self.forgets.insert((permit.reclaimed_at(), id), ());
        Some((id, permit))
    }

    /// Removes the next record that nothing depends on any more.
    pub(crate) fn forget_next(&mut self, now: ClusterTime) -> Option<(PermitId, Shared<Permit>)> {
        let (&(due, id), ()) = self.forgets.first()?;
        if due > now {
            return None;
        }
        Some((id, self.remove(id)?))
    }

    /// While more can be settled than may be, removes the oldest.
    pub(crate) fn forget_surplus(&mut self) -> Option<(PermitId, Shared<Permit>)> {
        let is_over = self.settleable.len() > MAX_SETTLEABLE_IN_ALL;
        let (&oldest, _) = self.settleable.first().filter(|_| is_over)?;
        Some((oldest, self.remove(oldest)?))
    }

    /// Takes those without a lease from among those with one, where they were once.
    pub(crate) fn sort_out(&mut self) {
        let settleable = self.leased.iter().filter(|(_, permit)| !permit.leased);
        for id in settleable.map(|(id, _)| *id).collect::<Vec<_>>() {
            if let Some(permit) = self.leased.remove(&id) {
                self.settleable.insert(id, permit);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Label;

    fn permit(leased: bool) -> Permit {
        Permit {
            resource: ResourceName::new("acme").unwrap(),
            granted_at: ClusterTime(1),
            ends_at: ClusterTime(9),
            leased,
            operation: Label::default(),
            key: Label::default(),
            consumer: Label::default(),
            subject: Label::default(),
            amounts: BTreeMap::new(),
            debits: Debits::new(),
            holds: Holds::new(),
            request_id: None,
            coalesce_key: None,
            reported: false,
        }
    }

    #[test]
    fn permits_from_before_those_without_a_lease_lay_apart_are_read() {
        let mut permits = Permits::default();
        let by_id: BTreeMap<_, _> = (1..=6).map(|id| (PermitId(id), permit(id % 2 == 0))).collect();
        for (id, permit) in &by_id {
            permits.insert(*id, permit.clone());
        }
        let before = minicbor::to_vec((by_id, &permits.leases, &permits.forgets)).unwrap();
        let mut read: Permits = minicbor::decode(&before).unwrap();
        read.sort_out();
        assert_eq!(read, permits);
        assert_eq!((read.leased.len(), read.settleable.len()), (3, 3));
        assert_eq!(minicbor::decode::<Permits>(&minicbor::to_vec(&permits).unwrap()).unwrap(), permits);
    }
}
