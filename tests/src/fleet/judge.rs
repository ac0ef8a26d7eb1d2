//! Judges a run: what does not hold, in words.

use std::collections::BTreeMap;

use super::{End, Granted, Priority, Request, Run};

/// By how much clocks may differ in rate.
const DRIFT: f64 = 0.001;

/// Of what can be granted while somebody waits.
const USED_LEAST: f64 = 0.99;

/// By how much a share may differ from its weight, and by how many grants, because they are whole.
const SHARE_TOLERANCE: f64 = 0.05;
const WHOLE_GRANTS: f64 = 1.0;

/// Everything that does not hold of the run.
pub fn judge(run: &Run) -> Vec<String> {
    let mut problems = Vec::new();
    problems.extend(nobody_starves(run));
    problems.extend(every_priority_is_served(run));
    problems.extend(shares_follow_weights(run));
    problems.extend(the_bucket_holds(run));
    problems.extend(no_more_slots_than_there_are(run));
    problems.extend(a_slot_has_one_holder_at_a_time(run));
    problems.extend(no_slot_is_lost(run));
    problems.extend(capacity_is_used(run));
    problems
}

fn nobody_starves(run: &Run) -> Option<String> {
    let starved = run.requests.iter().find(|request| matches!(request.end, End::Never | End::Failed(_)));
    starved.map(|request| format!("a request did not end as it should: {request:?}"))
}

/// While high priorities never cease to ask: by ageing.
fn every_priority_is_served(run: &Run) -> Option<String> {
    let is_served = |priority| {
        let mut grants = run.grants().into_iter();
        grants.any(|(request, _)| request.priority == priority && run.busy.contains(&request.ended_at))
    };
    let unserved = [Priority::High, Priority::Medium, Priority::Low].into_iter().find(|p| !is_served(*p));
    unserved.map(|priority| format!("nothing of {priority:?} was granted while others waited"))
}

fn shares_follow_weights(run: &Run) -> Option<String> {
    let shares = run.shares();
    let all: u64 = shares.iter().sum();
    let weights: u64 = run.weights.iter().sum();
    let is_off = |(share, weight): (&u64, &u64)| {
        let due = all as f64 * *weight as f64 / weights as f64;
        (*share as f64 - due).abs() > due * SHARE_TOLERANCE + WHOLE_GRANTS
    };
    let off = shares.iter().zip(&run.weights).any(is_off);
    off.then(|| format!("of {all} grants consumers of the weights {:?} had {shares:?}", run.weights))
}

/// What was asked and told within an interval was granted within it, and is at most what the bucket lets through then.
fn the_bucket_holds(run: &Run) -> Option<String> {
    let grants = run.grants();
    let mut from: Vec<_> = grants.iter().map(|(request, _)| request.asked_at).collect();
    from.sort_unstable();
    from.dedup();
    for from in from {
        let inside = grants.iter().filter(|(request, _)| request.asked_at >= from);
        for (count, (last, _)) in inside.enumerate() {
            let seconds = (last.ended_at - from).as_secs_f64() * (1.0 + DRIFT);
            let most = run.limits.capacity as f64 + seconds * run.limits.per_second as f64;
            if (count + 1) as f64 > most {
                return Some(format!("{} grants in {seconds} s from {from:?} on, at most {most}", count + 1));
            }
        }
    }
    None
}

/// A slot is certainly held from when its grant is told until its holder gives it up.
fn no_more_slots_than_there_are(run: &Run) -> Option<String> {
    let mut changes = Vec::new();
    for (Request { ended_at, .. }, Granted { held_until, .. }) in run.grants() {
        // What ends at the moment when another begins is over.
        changes.extend([(*ended_at, 1), (held_until, -1)]);
    }
    changes.sort_unstable();
    let mut held = 0;
    let too_many = changes.into_iter().find(|(_, change)| {
        held += change;
        held > i64::try_from(run.limits.slots).unwrap_or(i64::MAX)
    });
    too_many.map(|(at, _)| format!("more than {} slots were held at {at:?}", run.limits.slots))
}

fn a_slot_has_one_holder_at_a_time(run: &Run) -> Option<String> {
    let mut by_slot: BTreeMap<u32, Vec<(u64, &Request, Granted)>> = BTreeMap::new();
    for (request, granted) in run.grants() {
        by_slot.entry(granted.slot).or_default().push((granted.generation, request, granted));
    }
    for (slot, mut holders) in by_slot {
        holders.sort_unstable_by_key(|(generation, ..)| *generation);
        for pair in holders.windows(2) {
            let ((one, _, first), (other, next, _)) = (&pair[0], &pair[1]);
            if one == other {
                return Some(format!("slot {slot} was granted twice with generation {one}"));
            }
            // The younger generation was told while the older one was still in use.
            if next.ended_at < first.held_until {
                return Some(format!(
                    "slot {slot} had the generations {one} and {other} at {:?}",
                    next.ended_at
                ));
            }
        }
    }
    None
}

fn no_slot_is_lost(run: &Run) -> Option<String> {
    let (free, all) = (run.free_at_the_end, run.limits.slots);
    (free != all).then(|| format!("{free} of {all} slots were free at the end"))
}

/// Nothing is lost while somebody waits.
fn capacity_is_used(run: &Run) -> Option<String> {
    let used = run.used();
    (used < USED_LEAST).then(|| format!("{:.2} % of the capacity was used while many waited", used * 100.0))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fleet::Limits;

    const WEIGHTS: [usize; 3] = [1, 1, 2];

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// 100 a second for ten seconds, each held for 50 ms, as the weights say; every twentieth of another priority.
    fn good_run() -> Run {
        let mut requests = Vec::new();
        for nth in 0..1_000u64 {
            let priority = match nth % 20 {
                18 => Priority::Medium,
                19 => Priority::Low,
                _ => Priority::High,
            };
            let told = nth * 10;
            let granted =
                Granted { slot: (nth % 8) as u32, generation: nth + 1, held_until: millis(told + 50) };
            let consumer = match (nth / 20 * 18 + nth % 20) % 4 {
                0 => 0,
                1 => 1,
                _ => 2,
            };
            requests.push(Request {
                consumer,
                priority,
                asked_at: millis(told.saturating_sub(500)),
                ended_at: millis(told),
                end: End::Granted(granted),
            });
        }
        Run {
            limits: Limits { slots: 8, capacity: 10, per_second: 100 },
            weights: WEIGHTS.map(|weight| weight as u64).to_vec(),
            requests,
            busy: millis(0)..millis(10_000),
            killed_at: None,
            free_at_the_end: 8,
        }
    }

    fn problem(spoil: impl FnOnce(&mut Run)) -> String {
        let mut run = good_run();
        spoil(&mut run);
        let problems = judge(&run);
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems.into_iter().next().unwrap()
    }

    fn granted(request: &mut Request) -> &mut Granted {
        match &mut request.end {
            End::Granted(granted) => granted,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_good_run_is_good() {
        assert_eq!(judge(&good_run()), Vec::<String>::new());
    }

    #[test]
    fn an_outage_after_a_kill_is_left_aside_and_one_without_is_not() {
        let spoil = |run: &mut Run| {
            for request in &mut run.requests[500..] {
                request.ended_at += millis(800);
                granted(request).held_until += millis(800);
            }
            run.busy.end += millis(800);
        };
        let mut killed = good_run();
        spoil(&mut killed);
        killed.killed_at = Some(millis(4_995));
        assert_eq!(judge(&killed), Vec::<String>::new());
        assert_eq!(killed.outage(), millis(4_990)..millis(5_800));
        assert!(problem(spoil).contains("92.59 % of the capacity"));
    }

    #[test]
    fn who_starves_is_seen() {
        assert!(problem(|run| run.requests[7].end = End::Never).contains("Never"));
        let failed = End::Failed("OUTCOME_UNKNOWN".into());
        assert!(problem(|run| run.requests[7].end = failed).contains("OUTCOME_UNKNOWN"));
        let no_low = |run: &mut Run| {
            let mut low = run.requests.iter_mut().filter(|request| request.priority == Priority::Low);
            low.by_ref().for_each(|request| request.priority = Priority::Medium);
        };
        assert!(problem(no_low).contains("Low"));
    }

    #[test]
    fn unfair_shares_are_seen() {
        let favour = |run: &mut Run| {
            for request in run.requests.iter_mut().filter(|request| request.consumer == 0).take(30) {
                request.consumer = 1;
            }
        };
        assert!(problem(favour).contains("weights [1, 1, 2]"));
    }

    #[test]
    fn too_many_grants_are_seen() {
        // A burst of twelve beside what the bucket refills.
        let burst = |run: &mut Run| {
            for nth in 300..312u64 {
                let mut more = run.requests[nth as usize].clone();
                more.priority = Priority::Medium;
                (more.asked_at, more.ended_at) = (millis(3_001), millis(3_002));
                *granted(&mut more) =
                    Granted { slot: 100 + nth as u32, generation: 5_000 + nth, held_until: millis(3_002) };
                run.requests.push(more);
            }
        };
        let problem = problem(burst);
        assert!(problem.contains("grants in"), "{problem}");
    }

    #[test]
    fn slots_that_are_lost_or_shared_are_seen() {
        assert!(problem(|run| run.free_at_the_end = 7).contains("7 of 8"));
        let kept = |run: &mut Run| granted(&mut run.requests[100]).held_until += millis(60);
        assert!(problem(kept).contains("generations 101 and 109"));
        let same = |run: &mut Run| granted(&mut run.requests[108]).generation = 101;
        assert!(problem(same).contains("twice with generation 101"));
        let crowded = |run: &mut Run| {
            for nth in 500..504 {
                let granted = granted(&mut run.requests[nth]);
                (granted.slot, granted.held_until) = (200 + nth as u32, granted.held_until + millis(200));
            }
        };
        assert!(problem(crowded).contains("more than 8 slots"));
    }
}
