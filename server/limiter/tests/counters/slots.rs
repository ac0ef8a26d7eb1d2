//! Slots against a plain list of holders.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tollgate_limiter::counter::Slots;
use tollgate_limiter::*;

fn concurrency(slots: u32, counts_after: u64) -> Concurrency {
    Concurrency {
        slots,
        lease_default: Span(10),
        lease_max: Span(100),
        grace: Span::ZERO,
        counts_after: Span(counts_after),
        quarantine: Span::ZERO,
    }
}

#[derive(Clone, Debug)]
enum Action {
    Acquire {
        lease: u64,
    },
    Free {
        which: prop::sample::Index,
    },
    Extend {
        which: prop::sample::Index,
        lease: u64,
    },
    /// By a permit whose slot was taken back.
    Zombie {
        index: u32,
    },
    Change {
        slots: u32,
        counts_after: u64,
    },
}

fn actions() -> impl Strategy<Value = Vec<(u64, Action)>> {
    let action = prop_oneof![
        6 => (1..60u64).prop_map(|lease| Action::Acquire { lease }),
        3 => any::<prop::sample::Index>().prop_map(|which| Action::Free { which }),
        2 => (any::<prop::sample::Index>(), 1..60u64).prop_map(|(which, lease)| Action::Extend { which, lease }),
        1 => (0..8u32).prop_map(|index| Action::Zombie { index }),
    ];
    prop::collection::vec((prop_oneof![2 => Just(0), 3 => 1..6u64, 1 => 6..40u64], action), 1..80)
}

fn changes() -> impl Strategy<Value = Vec<(u64, Action)>> {
    let change = (1..8u32, 0..20u64).prop_map(|(slots, counts_after)| Action::Change { slots, counts_after });
    (actions(), prop::collection::vec((0..10u64, change), 0..6), any::<prop::sample::Index>()).prop_map(
        |(mut actions, changes, at)| {
            for change in changes {
                actions.insert(at.index(actions.len()), change);
            }
            actions
        },
    )
}

/// Who holds which index, since when, until when.
#[derive(Clone, Copy, Debug)]
struct Holder {
    permit: PermitId,
    granted_at: u64,
    reclaim_at: u64,
}

struct Model {
    terms: Concurrency,
    slots: Slots,
    now: u64,
    holders: BTreeMap<u32, Holder>,
    permits: u64,
}

impl Model {
    fn new(terms: Concurrency) -> Model {
        Model { terms, slots: Slots::default(), now: 1_000, holders: BTreeMap::new(), permits: 0 }
    }

    fn counting(&self, now: u64) -> u64 {
        let counts_after = self.terms.counts_after.0;
        let counts = |h: &&Holder| h.granted_at + counts_after <= now && now < h.reclaim_at;
        self.holders.values().filter(counts).count() as u64
    }

    fn earliest(&self) -> u64 {
        (self.now..).find(|at| self.counting(*at) < u64::from(self.terms.slots)).unwrap()
    }

    fn take(&mut self, elapsed: u64, action: &Action) {
        self.now += elapsed;
        self.check();
        let due = self.holders.len();
        self.holders.retain(|_, holder| holder.reclaim_at > self.now);
        assert_eq!(self.slots.reclaim(ClusterTime(self.now)), due - self.holders.len());
        match *action {
            Action::Acquire { lease } => self.acquire(lease),
            Action::Free { which } => {
                if let Some((index, holder)) = self.pick(&which) {
                    assert!(self.slots.free(index, holder.permit));
                    self.holders.remove(&index);
                }
            }
            Action::Extend { which, lease } => {
                if let Some((index, holder)) = self.pick(&which) {
                    let reclaim_at = holder.reclaim_at.max(self.now + lease);
                    assert!(self.slots.extend(index, holder.permit, ClusterTime(reclaim_at)));
                    self.holders.insert(index, Holder { reclaim_at, ..holder });
                }
            }
            Action::Zombie { index } => {
                let never = PermitId(u64::MAX);
                assert!(!self.slots.free(index, never));
                assert!(!self.slots.extend(index, never, ClusterTime(u64::MAX)));
            }
            Action::Change { slots, counts_after } => {
                self.terms = concurrency(slots, counts_after);
                self.slots.carry(&self.terms, ClusterTime(self.now));
            }
        }
        self.check();
    }

    fn acquire(&mut self, lease: u64) {
        let now = ClusterTime(self.now);
        if self.slots.earliest(&self.terms, now) != Some(now) {
            return;
        }
        assert!(self.counting(self.now) < u64::from(self.terms.slots));
        let smallest_free = (0..).find(|index| !self.holders.contains_key(index)).unwrap();
        let holder =
            Holder { permit: PermitId(self.permits), granted_at: self.now, reclaim_at: self.now + lease };
        let index = self.slots.hold(&self.terms, holder.permit, now, ClusterTime(holder.reclaim_at));
        assert_eq!(index, smallest_free);
        self.permits += 1;
        self.holders.insert(index, holder);
    }

    fn pick(&self, which: &prop::sample::Index) -> Option<(u32, Holder)> {
        let held: Vec<_> = self.holders.iter().map(|(index, holder)| (*index, *holder)).collect();
        (!held.is_empty()).then(|| held[which.index(held.len())])
    }

    fn check(&self) {
        let now = ClusterTime(self.now);
        assert_eq!(self.slots.counting(&self.terms, now), self.counting(self.now));
        assert_eq!(self.slots.earliest(&self.terms, now), Some(ClusterTime(self.earliest())));
        let held: Vec<_> = self.slots.held().map(|(index, held)| (index, held.permit)).collect();
        let expected: Vec<_> = self.holders.iter().map(|(index, holder)| (*index, holder.permit)).collect();
        assert_eq!(held, expected);
        let next_due = self.holders.values().map(|holder| holder.reclaim_at).min();
        assert_eq!(self.slots.next_due(), next_due.map(ClusterTime));
        let bytes = minicbor::to_vec(&self.slots).unwrap();
        assert_eq!(minicbor::decode::<Slots>(&bytes).unwrap(), self.slots);
    }
}

proptest! {
    #[test]
    fn at_once_counting_slots_are_never_more_than_there_are(slots in 1..8u32, actions in actions()) {
        let mut model = Model::new(concurrency(slots, 0));
        for (elapsed, action) in &actions {
            model.take(*elapsed, action);
            prop_assert!(model.holders.len() <= slots as usize);
        }
    }

    #[test]
    fn slots_that_count_later_are_as_the_list_says(
        slots in 1..8u32,
        counts_after in 0..30u64,
        actions in changes(),
    ) {
        let mut model = Model::new(concurrency(slots, counts_after));
        actions.iter().for_each(|(elapsed, action)| model.take(*elapsed, action));
    }
}

#[test]
fn the_most_slots_there_can_be() {
    let terms = concurrency(100_000, 0);
    let mut slots = Slots::default();
    let now = ClusterTime(5);
    for permit in 0..100_000 {
        assert_eq!(slots.earliest(&terms, now), Some(now));
        let index = slots.hold(&terms, PermitId(permit), now, ClusterTime(1_000 + permit));
        assert_eq!(u64::from(index), permit);
    }
    assert_eq!(slots.earliest(&terms, now), Some(ClusterTime(1_000)));
    assert_eq!(slots.available(&terms, now), 0);
    assert_eq!(slots.fresh_in(now), Span(100_994));
    assert!(slots.free(70_000, PermitId(70_000)));
    assert!(!slots.free(70_000, PermitId(70_000)));
    assert_eq!(slots.hold(&terms, PermitId(100_000), now, ClusterTime(9)), 70_000);
    assert_eq!(slots.reclaim(ClusterTime(51_000)), 50_002);
    assert_eq!(slots.hold(&terms, PermitId(100_001), ClusterTime(51_000), ClusterTime(60_000)), 0);
}
