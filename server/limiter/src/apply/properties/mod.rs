//! What holds of the whole limiter, whatever is asked of it and whatever the resources look like.
//!
//! `PROPTEST_CASES=10000 cargo test` looks further.

mod alternatives;
mod budgets;
mod coalescing;
mod generate;
mod guarantees;
mod orders;

use std::collections::BTreeMap;

use proptest::prelude::*;

use self::{
    generate::{Entry, acquire, any_command, log, permit_command},
    guarantees::Grants,
    orders::{Orders, headroom},
};
use super::Limiter;
use crate::model::*;

/// Somewhere in March 2026, so that days of 23 hours are not far.
const BIRTH: Stamp = Stamp { cluster: ClusterTime(0), wall: WallTime(1_772_900_000_000_000_000) };

/// Longer than any limit needs and any pause with an end lasts.
const YEARS: Span = Span::from_secs(10 * 365 * 86_400);

/// The limiter after an entry, and what it answered.
pub(super) fn applied(limiter: &Limiter, stamp: Stamp, commands: &[Command]) -> (Limiter, Vec<Answer>) {
    let (mut limiter, mut answers) = (limiter.clone(), Vec::new());
    limiter.apply(stamp, commands, &mut answers);
    (limiter, answers)
}

/// Calls `each` with every command of the log: the state before it, its stamp, the command, its answer, and the state
/// after it.
fn walk(
    log: &[Entry],
    mut each: impl FnMut(&Limiter, Stamp, &Command, &Answer, &Limiter) -> Result<(), TestCaseError>,
) -> Result<Limiter, TestCaseError> {
    let (mut limiter, mut stamp) = (Limiter::default(), BIRTH);
    for entry in log {
        stamp = stamp.after(entry.after);
        for command in &entry.commands {
            let (after, answers) = applied(&limiter, stamp, std::slice::from_ref(command));
            each(&limiter, stamp, command, &answers[0], &after)?;
            limiter = after;
        }
    }
    Ok(limiter)
}

/// All but the digest, which every answer changes.
fn same_state(a: &Limiter, b: &Limiter) -> bool {
    Limiter { digest: 0, ..a.clone() } == Limiter { digest: 0, ..b.clone() }
}

/// What counters say, without those that cannot be told from fresh ones.
fn figures(limiter: &Limiter, stamp: Stamp, name: &ResourceName) -> BTreeMap<(LimitName, Label), (u64, i64)> {
    let usage = limiter.usage(stamp, name, None, 1000, 1000);
    let limits = usage.into_iter().flat_map(|usage| usage.limits);
    limits
        .flat_map(|limit| limit.counters.into_iter().map(move |counter| (limit.limit.clone(), counter)))
        .filter(|(_, counter)| !counter.full_in.is_zero())
        .map(|(limit, counter)| ((limit, counter.scope_value), (counter.used, counter.available)))
        .collect()
}

/// The request, if the command asks for a permit.
fn asked(command: &Command) -> Option<&Acquire> {
    match command {
        Command::Acquire(acquire) | Command::AcquireFrom { acquire, .. } => Some(acquire),
        _ => None,
    }
}

/// A grant that was not given before, and the request as it was put to the resource that granted it.
fn granted_anew<'a>(command: &Command, answer: &'a Answer) -> Option<(Acquire, &'a Grant)> {
    match answer {
        Ok(Outcome::Granted(grant)) if !grant.replayed => {
            let acquire = asked(command)?.choice(grant.alternative)?.into_owned();
            Some((Acquire { alternatives: vec![], ..acquire }, grant))
        }
        _ => None,
    }
}

/// Of commands that renew, or that ask again under a request id that was granted.
fn renewals_and_replays_are_the_same(
    one: &Limiter,
    other: &Limiter,
    stamp: Stamp,
    commands: &[Command],
) -> Result<(), TestCaseError> {
    for command in commands {
        let answers = |limiter| applied(limiter, stamp, std::slice::from_ref(command)).1;
        let expected = answers(one);
        let replayed = matches!(&expected[0], Ok(Outcome::Granted(grant)) if grant.replayed);
        if replayed || matches!(command, Command::Renew(_)) {
            prop_assert_eq!(expected, answers(other));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_log_gives_the_same_state_through_a_snapshot_too(log in log(any_command(), 40), cut in 0usize..40) {
        let (mut stamp, mut limiter, mut answers) = (BIRTH, Limiter::default(), Vec::new());
        let (mut restored, mut repeated) = (Limiter::default(), Vec::new());
        for (index, entry) in log.iter().enumerate() {
            stamp = stamp.after(entry.after);
            limiter.apply(stamp, &entry.commands, &mut answers);
            restored.apply(stamp, &entry.commands, &mut repeated);
            prop_assert_eq!(&answers, &repeated);
            prop_assert_eq!(limiter.digest(), restored.digest());
            if index == cut {
                restored = Limiter::decode(&limiter.encode()).unwrap();
                prop_assert_eq!(&restored, &limiter);
            }
        }
        prop_assert_eq!(limiter.encode(), restored.encode());
    }

    #[test]
    fn a_damaged_snapshot_never_panics(log in log(any_command(), 20), at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = walk(&log, |_, _, _, _, _| Ok(()))?.encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(limiter) = Limiter::decode(&bytes) {
            prop_assert_eq!(Limiter::decode(&limiter.encode()), Ok(limiter));
        }
    }

    #[test]
    fn time_never_goes_backwards(log in log(any_command(), 20), back in 1u64..5_000_000_000) {
        let limiter = walk(&log, |_, _, _, _, _| Ok(()))?;
        let now = limiter.now();
        let earlier = Stamp { cluster: now.cluster - Span(back), wall: WallTime(now.wall.0 - 1) };
        let (at_earlier, _) = applied(&limiter, earlier, &[]);
        let (at_now, _) = applied(&limiter, now, &[]);
        prop_assert_eq!(at_earlier, at_now);
    }

    #[test]
    fn denials_rejections_and_replays_change_nothing_but_time(log in log(any_command(), 40)) {
        walk(&log, |before, stamp, command, answer, after| {
            let (idle, _) = applied(before, stamp, &[]);
            let unchanged = match answer {
                // That there was a retry is remembered.
                Ok(Outcome::Granted(grant)) if grant.replayed => {
                    idle.resources == after.resources && idle.permits == after.permits
                }
                // Idle counters have gone in the search for room.
                Err(Rejection::TooManyScopeValues { .. }) => idle.permits == after.permits,
                Ok(Outcome::Denied(_) | Outcome::Kept) | Err(_) => same_state(&idle, after),
                Ok(_) => true,
            };
            prop_assert!(unchanged, "{command:?} changed something: {answer:?}");
            Ok(())
        })?;
    }

    #[test]
    fn what_the_leader_refuses_the_log_would_refuse(log in log(any_command(), 40)) {
        walk(&log, |before, stamp, command, answer, _| {
            match before.refuse(stamp, command) {
                Some(refused) => prop_assert_eq!(&refused, answer),
                None if asked(command).is_some() => prop_assert!(
                    matches!(answer, Ok(Outcome::Granted(_)) | Err(Rejection::TooManyScopeValues { .. })),
                    "not refused, and yet {:?}", answer
                ),
                None => {}
            }
            Ok(())
        })?;
    }

    #[test]
    fn granted_exactly_at_retry_after_and_not_before(log in log(any_command(), 30)) {
        walk(&log, |before, stamp, command, answer, _| {
            let Ok(Outcome::Denied(denial)) = answer else { return Ok(()) };
            let Some(retry_after) = denial.retry_after else {
                let (_, much_later) = applied(before, stamp.after(YEARS), std::slice::from_ref(command));
                prop_assert!(matches!(&much_later[0], Ok(Outcome::Denied(_))), "{denial:?}, and yet {much_later:?}");
                return Ok(());
            };
            prop_assert!(!retry_after.is_zero());
            let (_, at) = applied(before, stamp.after(retry_after), std::slice::from_ref(command));
            let resource = asked(command).and_then(|acquire| before.resource(stamp, &acquire.resource));
            // Hours that begin and end may make it early.
            let has_hours = |budget: &Budget| budget.schedule.is_some();
            let is_scheduled = resource.is_some_and(|stored| stored.resource.budgets.iter().any(has_hours));
            prop_assert!(
                is_scheduled && matches!(at[0], Ok(Outcome::Denied(_))) || matches!(at[0], Ok(Outcome::Granted(_)) | Err(Rejection::TooManyScopeValues { .. })),
                "{denial:?}, and at retry_after {at:?}"
            );
            let just_before = stamp.after(Span(retry_after.0 - 1));
            let (_, too_early) = applied(before, just_before, std::slice::from_ref(command));
            prop_assert!(matches!(&too_early[0], Ok(Outcome::Denied(_))), "{denial:?}, and before it {too_early:?}");
            Ok(())
        })?;
    }

    #[test]
    fn an_order_is_never_overtaken_and_touches_no_permit(log in log(permit_command(), 60)) {
        let mut orders = Orders::default();
        let mut repeatable: Vec<Command> = (0..12).map(|id| Command::Renew(Renew { permit: PermitId(id), lease: None })).collect();
        walk(&log, |before, stamp, command, answer, after| {
            if let Some((acquire, grant)) = granted_anew(command, answer) {
                prop_assert!(orders.allow(&acquire.resource, &grant.key, stamp.cluster), "{grant:?} in spite of {orders:?}");
                repeatable.extend(acquire.request_id.is_some().then(|| command.clone()));
            }
            if let (Command::PauseResource(_) | Command::ResumeResource(_) | Command::SetKeyState(_) | Command::HoldBack(_), Ok(_)) = (command, answer) {
                orders.given(command, stamp.cluster);
                let (idle, _) = applied(before, stamp, &[]);
                prop_assert!(idle.permits == after.permits && idle.request_ids == after.request_ids);
                for name in ["acme", "zeta"].map(|name| ResourceName::new(name).unwrap()) {
                    // Resuming, more is in force again.
                    let is_tightened = |stored: StoredResource| {
                        stored.vendor.tightened.iter().any(|limit| limit.amount < limit.defined)
                    };
                    if before.resource(stamp, &name).is_some_and(is_tightened) {
                        continue;
                    }
                    prop_assert_eq!(figures(&idle, stamp, &name), figures(after, stamp, &name));
                }
                if !matches!(command, Command::SetKeyState(_)) {
                    renewals_and_replays_are_the_same(&idle, after, stamp, &repeatable)?;
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn the_key_with_the_most_headroom_is_taken(log in log(permit_command(), 40)) {
        walk(&log, |before, stamp, command, answer, _| {
            let Some((acquire, grant)) = granted_anew(command, answer) else { return Ok(()) };
            if !acquire.key.is_empty() {
                return Ok(());
            }
            let resource = before.resource(stamp, &acquire.resource).unwrap().resource;
            let rank = |key: &Label| resource.keys.iter().position(|other| other == key);
            let (taken, whole) = headroom(before, stamp, &resource, &acquire, &grant.key);
            for key in resource.keys.iter().filter(|key| **key != grant.key) {
                let pinned = Acquire { key: key.clone(), request_id: None, ..acquire.clone() };
                let (_, answers) = applied(before, stamp, &[Command::from(pinned)]);
                if !matches!(answers[0], Ok(Outcome::Granted(_))) {
                    continue;
                }
                let (other, of) = headroom(before, stamp, &resource, &acquire, key);
                let order = (other * whole).cmp(&(taken * of));
                prop_assert!(order.is_lt() || order.is_eq() && rank(key) > rank(&grant.key), "{key} has more: {grant:?}");
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_grant_debits_every_limit_that_applies(log in log(permit_command(), 40)) {
        walk(&log, |before, stamp, command, answer, after| {
            let Some((acquire, grant)) = granted_anew(command, answer) else { return Ok(()) };
            let (earlier, later) = (figures(before, stamp, &acquire.resource), figures(after, stamp, &acquire.resource));
            let definition = before.resource(stamp, &acquire.resource).unwrap().resource;
            let used = |figures: &BTreeMap<(LimitName, Label), (u64, i64)>, limit: &LimitName| {
                figures.iter().filter(|((name, _), _)| name == limit).map(|(_, (used, _))| *used).sum::<u64>()
            };
            for usage in grant.usage.iter().filter(|usage| !usage.would_deny) {
                let limit = definition.limits.iter().find(|limit| limit.name == usage.limit).unwrap();
                let slot = limit.kind.concurrency().is_some();
                prop_assert_eq!(slot && !limit.shadow, grant.slots.iter().any(|slot| slot.limit == limit.name));
                prop_assert!(slot || used(&later, &limit.name) > used(&earlier, &limit.name), "{usage:?} in {grant:?}");
            }
            Ok(())
        })?;
    }

    #[test]
    fn not_sent_leaves_what_was_before(log in log(permit_command(), 20), acquire in acquire(), later in 0u64..2_000_000_000) {
        let limiter = walk(&log, |_, _, _, _, _| Ok(()))?;
        let stamp = limiter.now();
        let command = Command::from(acquire);
        let (granted, answers) = applied(&limiter, stamp, std::slice::from_ref(&command));
        let Some((Acquire { resource: name, .. }, &Grant { permit, .. })) = granted_anew(&command, &answers[0]) else { return Ok(()) };
        let give_back = [Command::GiveBack(permit)];

        let (at_once, answers) = applied(&granted, stamp, &give_back);
        if answers[0].is_ok() {
            prop_assert_eq!(figures(&limiter, stamp, &name), figures(&at_once, stamp, &name));
            prop_assert_eq!(limiter.permits.len(), at_once.permits.len());
            prop_assert_eq!(limiter.next_due(), at_once.next_due());
        }
        // Later there is never more than if it had not been acquired.
        let stamp = stamp.after(Span(later));
        let (given_back, _) = applied(&granted, stamp, &give_back);
        let without = figures(&limiter, stamp, &name);
        for (counter, (_, available)) in figures(&given_back, stamp, &name) {
            let most = without.get(&counter).map_or(i64::MAX, |(_, available)| *available);
            prop_assert!(available <= most, "{counter:?}: {available} > {most}");
        }
    }

    #[test]
    fn every_limit_keeps_what_it_promises(log in log(permit_command(), 60)) {
        let mut grants = Grants::default();
        walk(&log, |before, stamp, command, answer, _| {
            if let Some((acquire, grant)) = granted_anew(command, answer) {
                let resource = before.resource(stamp, &acquire.resource).unwrap().resource;
                grants.granted(&resource, &acquire, grant, stamp);
            }
            match (command, answer) {
                (Command::Release(release), Ok(Outcome::Released(_))) => grants.settled(release.permit, Some(release)),
                (Command::GiveBack(permit), Ok(Outcome::Released(_))) => grants.settled(*permit, None),
                _ => {}
            }
            Ok(())
        })?;
        grants.keep_what_was_promised()?;
    }

    #[test]
    fn slots_are_held_once_and_generations_rise(log in log(permit_command(), 60)) {
        let mut holders = Holders::default();
        walk(&log, |before, stamp, command, answer, _| {
            if let Some((acquire, grant)) = granted_anew(command, answer) {
                holders.granted(before, &acquire, grant, stamp.cluster)?;
            }
            match (command, answer) {
                (Command::Renew(renew), Ok(Outcome::Renewed(lease))) => holders.renewed(renew.permit, stamp.cluster, *lease)?,
                (Command::Release(release), Ok(Outcome::Released(_))) => holders.released(release.permit),
                (Command::GiveBack(permit), Ok(Outcome::Released(_))) => holders.released(*permit),
                _ => {}
            }
            Ok(())
        })?;
    }
}

/// One slot: of which resource, limit and scope value, and its index.
type Place = (ResourceName, LimitName, Label, u32);

/// An independent model of who believes to hold what: only from what was answered.
#[derive(Default)]
struct Holders {
    lease_ends: BTreeMap<PermitId, ClusterTime>,
    held: BTreeMap<Place, PermitId>,
    generations: BTreeMap<Place, u64>,
}

impl Holders {
    fn granted(
        &mut self,
        limiter: &Limiter,
        acquire: &Acquire,
        grant: &Grant,
        now: ClusterTime,
    ) -> Result<(), TestCaseError> {
        prop_assert_eq!(grant.lease.is_none(), grant.slots.is_empty());
        let Some(lease) = grant.lease else { return Ok(()) };
        prop_assert_eq!(self.lease_ends.insert(grant.permit, now + lease), None, "granted twice");
        let definition = limiter.resource(limiter.now(), &acquire.resource).unwrap().resource;
        for slot in &grant.slots {
            let limit = definition.limits.iter().find(|limit| limit.name == slot.limit).unwrap();
            let value = match limit.scope {
                Scope::Resource => Label::default(),
                Scope::Key => grant.key.clone(),
                Scope::Consumer => acquire.consumer.clone(),
                Scope::Subject => acquire.subject.clone(),
            };
            let place = (acquire.resource.clone(), slot.limit.clone(), value, slot.index);
            let last = self.generations.insert(place.clone(), slot.generation);
            prop_assert!(last.is_none_or(|last| last < slot.generation), "a generation did not rise");
            let holder = self.held.insert(place.clone(), grant.permit);
            prop_assert!(!holder.is_some_and(|holder| self.believes(holder, now)), "held by two at a time");

            let concurrency = limit.kind.concurrency().unwrap();
            let holders = self.held.iter().filter(|((resource, limit, value, _), holder)| {
                (resource, limit, value) == (&place.0, &place.1, &place.2) && self.believes(**holder, now)
            });
            let most =
                if concurrency.counts_after.is_zero() { concurrency.slots as usize } else { usize::MAX };
            prop_assert!(holders.count() <= most, "more than {most} holders of {}", slot.limit);
        }
        Ok(())
    }

    fn renewed(&mut self, permit: PermitId, now: ClusterTime, lease: Span) -> Result<(), TestCaseError> {
        prop_assert!(self.believes(permit, now), "revived");
        let before = self.lease_ends.insert(permit, now + lease);
        prop_assert!(before.is_some_and(|before| before <= now + lease), "shortened");
        Ok(())
    }

    fn released(&mut self, permit: PermitId) {
        self.lease_ends.remove(&permit);
    }

    fn believes(&self, permit: PermitId, now: ClusterTime) -> bool {
        self.lease_ends.get(&permit).is_some_and(|end| now < *end)
    }
}
