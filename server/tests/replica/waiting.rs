//! Requests that wait for their turn: what wakes them, what ends their wait, and what becomes of them when leaders change.

use tollgate_limiter::*;
use tollgate_server::raft::{
    call::{Call, FullQueue, Refusal, Reply},
    members::NodeId,
};

use crate::{
    cluster::{CallNumber, Cluster},
    with_seeds,
    words::*,
};

const MINUTE_MS: u64 = 60_000;

/// From an event to the grant that it makes possible: one round through the log, and no tick.
const PROMPT_MS: u64 = 40;

fn reply(cluster: &Cluster, call: CallNumber) -> Option<&Reply> {
    cluster.reply(call).map(|result| result.as_ref().unwrap())
}

fn denial(reply: Option<&Reply>) -> (&Denial, Span) {
    if let Some(Reply::Answer { answer, waited }) = reply
        && let Ok(Outcome::Denied(denial)) = &**answer
    {
        return (denial, *waited);
    }
    panic!("not denied: {reply:?}")
}

/// Waits for the grant; how long that took.
fn granted_after(cluster: &mut Cluster, call: CallNumber) -> u64 {
    let began_ms = cluster.now_ms;
    cluster.run_until("the grant", |cluster| cluster.reply(call).is_some());
    granted(reply(cluster, call).unwrap());
    cluster.now_ms - began_ms
}

fn commit_index(cluster: &Cluster, leader: NodeId) -> u64 {
    cluster.replica(leader).status().commit_index
}

fn bucket(capacity: u64, period: Span) -> Resource {
    let bucket = TokenBucket { capacity, refill_amount: 1, refill_period: period };
    with_limit("tokens", LimitKind::TokenBucket(bucket))
}

fn define(cluster: &mut Cluster, resource: Resource) -> NodeId {
    cluster.ask(command(Command::from(resource)));
    cluster.elect()
}

#[test]
fn a_released_slot_goes_to_the_first_who_waits_at_once() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        let leader = define(&mut cluster, with_slots(1));
        let mut holder = granted(&cluster.ask(acquire(""))).permit;
        let calls: Vec<_> = (0..5)
            .map(|number| {
                cluster.run(10);
                cluster.call(leader, waiting(&format!("r{number}"), MINUTE_MS))
            })
            .collect();
        cluster.run(500);
        for call in calls {
            assert_eq!(cluster.reply(call), None, "seed {seed}: nobody overtakes");
            cluster.call(leader, release(holder));
            assert!(granted_after(&mut cluster, call) <= PROMPT_MS, "seed {seed}");
            holder = granted(reply(&cluster, call).unwrap()).permit;
        }
    });
}

#[test]
fn freed_capacity_costs_one_proposal_however_many_wait() {
    let mut cluster = Cluster::found(1, 3);
    let leader = define(&mut cluster, with_slots(1));
    let holder = granted(&cluster.ask(acquire(""))).permit;
    let calls: Vec<_> = (0..200).map(|_| cluster.call(leader, waiting("", MINUTE_MS))).collect();
    cluster.run(500);
    let before = commit_index(&cluster, leader);
    cluster.call(leader, release(holder));
    cluster.run(500);
    let answered = calls.iter().filter(|call| cluster.reply(**call).is_some()).count();
    assert_eq!(answered, 1);
    assert_eq!(commit_index(&cluster, leader) - before, 2, "the release, and the one who can go");
}

#[test]
fn a_lease_that_runs_out_lets_the_next_one_go() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        let leader = define(&mut cluster, with_slots(1));
        granted(&cluster.ask(acquire("")));
        let call = cluster.call(leader, waiting("a", 2 * MINUTE_MS));
        cluster.run(MINUTE_MS / 2);
        let after_ms = granted_after(&mut cluster, call) + MINUTE_MS / 2;
        assert!((MINUTE_MS - 100..=MINUTE_MS + PROMPT_MS).contains(&after_ms), "seed {seed}: {after_ms}");
    });
}

#[test]
fn a_refill_lets_as_many_go_as_it_has_room_for() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        let leader = define(&mut cluster, bucket(1, Span::from_millis(400)));
        let began_ms = cluster.now_ms;
        let calls: Vec<_> = (0..6).map(|_| cluster.call(leader, waiting("", MINUTE_MS))).collect();
        for (number, call) in (0..).zip(calls) {
            granted_after(&mut cluster, call);
            let after_ms = cluster.now_ms - began_ms;
            let due_ms = number * 400;
            // Every grant is debited when it is stamped, so that what it is late by does not add up.
            assert!((due_ms..=due_ms + PROMPT_MS).contains(&after_ms), "seed {seed}: {number} at {after_ms}");
        }
    });
}

#[test]
fn a_window_that_opens_lets_them_go() {
    let mut cluster = Cluster::found(1, 3);
    let window = FixedWindow {
        amount: 1,
        period: Span::from_secs(5),
        anchor: Anchor::FirstRequest,
        max_clock_skew: Span::ZERO,
    };
    let leader = define(&mut cluster, with_limit("window", LimitKind::FixedWindow(window)));
    granted(&cluster.ask(acquire("")));
    let call = cluster.call(leader, waiting("", MINUTE_MS));
    let after_ms = granted_after(&mut cluster, call);
    assert!((4_900..=5_000 + PROMPT_MS).contains(&after_ms), "{after_ms}");
}

#[test]
fn the_end_of_a_pause_and_a_raised_limit_let_them_go() {
    let mut cluster = Cluster::found(1, 3);
    let leader = define(&mut cluster, with_slots(1));
    let pause = Pause { left: Some(Span::from_secs(3)), reason: Label::default() };
    let order = PauseResource { resource: resource(), key: Label::default(), pause };
    cluster.ask(command(Command::PauseResource(order)));
    let call = cluster.call(leader, waiting("", MINUTE_MS));
    let after_ms = granted_after(&mut cluster, call);
    assert!((2_900..=3_000 + PROMPT_MS).contains(&after_ms), "{after_ms}");

    // Another one waits for the slot; it is one more soon.
    let call = cluster.call(leader, waiting("", MINUTE_MS));
    cluster.run(1_000);
    assert_eq!(cluster.reply(call), None);
    let generation = cluster.replica(leader).machine().limiter().queueing(&resource()).unwrap().1;
    let update = UpdateResource { resource: with_slots(2), generation };
    cluster.call(leader, command(Command::from(update)));
    assert!(granted_after(&mut cluster, call) <= PROMPT_MS);
}

#[test]
fn the_wait_ends_with_a_denial_that_says_what_was_waited_for() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        let leader = define(&mut cluster, with_slots(1));
        granted(&cluster.ask(acquire("")));
        let began_ms = cluster.now_ms;
        let call = cluster.call(leader, waiting_again("a", 1, 3_000, 1_000));
        cluster.run_until("the denial", |cluster| cluster.reply(call).is_some());
        let took_ms = cluster.now_ms - began_ms;
        assert!((2_000..=2_010).contains(&took_ms), "seed {seed}: {took_ms}");
        let (denial, waited) = denial(reply(&cluster, call));
        assert_eq!(denial.limit, LimitName::new("slots").ok());
        assert!(denial.retry_after.is_some_and(|after| after > Span::from_secs(50)));
        assert!((Span::from_millis(3_000)..=Span::from_millis(3_010)).contains(&waited), "{waited}");
    });
}

#[test]
fn who_cancels_leaves_at_once_and_is_never_granted() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        let leader = define(&mut cluster, with_slots(1));
        let holder = granted(&cluster.ask(acquire(""))).permit;
        let first = cluster.call(leader, waiting("first", MINUTE_MS));
        let second = cluster.call(leader, waiting("second", MINUTE_MS));
        cluster.run(100);
        cluster.cancel(leader, first);
        let before = commit_index(&cluster, leader);
        cluster.call(leader, release(holder));
        assert!(granted_after(&mut cluster, second) <= PROMPT_MS, "seed {seed}");
        assert_eq!(
            commit_index(&cluster, leader) - before,
            2,
            "seed {seed}: nothing was proposed for the first"
        );
        let second = granted(reply(&cluster, second).unwrap()).permit;
        assert_eq!(holders(&cluster.ask(usage())), [second], "seed {seed}");
    });
}

#[test]
fn who_cancels_while_its_grant_is_on_its_way_gives_it_to_the_next() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        let leader = define(&mut cluster, with_slots(1));
        let holder = granted(&cluster.ask(acquire(""))).permit;
        let first = cluster.call(leader, waiting("first", MINUTE_MS));
        let second = cluster.call(leader, waiting("second", MINUTE_MS));
        cluster.call(leader, release(holder));
        // Somewhere between the release and the grant.
        cluster.run(seed * 2);
        if cluster.reply(first).is_none() {
            cluster.cancel(leader, first);
        } else {
            let permit = granted(reply(&cluster, first).unwrap()).permit;
            cluster.call(leader, release(permit));
        }
        granted_after(&mut cluster, second);
        cluster.run(1_000);
        assert_eq!(holders(&cluster.ask(usage())).len(), 1, "seed {seed}: no slot is lost");
    });
}

#[test]
fn requests_of_the_same_moment_that_find_no_room_at_apply_wait_on() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        let leader = define(&mut cluster, with_slots(2));
        // When they are proposed, the state has room for each of them.
        let calls: Vec<_> = (0..5).map(|_| cluster.call(leader, waiting("", MINUTE_MS))).collect();
        for call in calls {
            granted_after(&mut cluster, call);
            let permit = granted(reply(&cluster, call).unwrap()).permit;
            cluster.call(leader, release(permit));
        }
    });
}

#[test]
fn a_newcomer_does_not_overtake_however_little_it_asks_for() {
    let mut cluster = Cluster::found(1, 3);
    let leader = define(&mut cluster, bucket(10, Span::from_millis(100)));
    granted(&cluster.ask(with(acquire(""), |acquire| acquire.cost = 10)));
    let large = cluster.call(leader, with(waiting("", MINUTE_MS), |acquire| acquire.cost = 5));
    cluster.run(250);
    let small = cluster.call(leader, acquire(""));
    cluster.run(100);
    let (denial, waited) = denial(reply(&cluster, small));
    assert_eq!((&denial.reason, waited), (&DenialReason::OthersWait, Span::ZERO));
    assert!(granted_after(&mut cluster, large) <= 500);
    // Nobody waits any more: the next small one is decided as ever.
    cluster.run(200);
    let small = cluster.call(leader, acquire(""));
    assert!(granted_after(&mut cluster, small) <= PROMPT_MS);
}

#[test]
fn a_full_queue_refuses_and_says_which() {
    let mut cluster = Cluster::found(1, 3);
    let queueing = Queueing { max_waiters: 3, max_waiters_per_consumer: 2, ..Queueing::default() };
    let leader = define(&mut cluster, Resource { queueing, ..with_slots(1) });
    granted(&cluster.ask(acquire("")));
    let of = |consumer: &str| {
        with(waiting("", MINUTE_MS), |acquire| acquire.consumer = Label::new(consumer).unwrap())
    };
    let calls = ["a", "a", "a", "b", "c"].map(|consumer| cluster.call(leader, of(consumer)));
    cluster.run(100);
    let full = calls.map(|call| match cluster.reply(call) {
        None => String::new(),
        Some(Err(Refusal::QueueFull { queue: FullQueue::Consumer(name), max, .. })) => {
            format!("{name} {max}")
        }
        Some(Err(Refusal::QueueFull { queue: FullQueue::Resource(name), max, .. })) => {
            format!("{name} {max}")
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(full, ["", "", "a 2", "", "salesforce/acme 3"]);
}

#[test]
fn those_who_wait_are_told_when_the_leader_goes_and_keep_their_turns_at_the_next() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        let old = define(&mut cluster, with_slots(1));
        let mut holder = granted(&cluster.ask(acquire(""))).permit;
        let asked: Vec<(u64, CallNumber)> = (0..4)
            .map(|number| {
                cluster.run(20);
                (cluster.now_ms, cluster.call(old, waiting(&format!("r{number}"), MINUTE_MS)))
            })
            .collect();
        cluster.run(100);
        cluster.call(old, Call::TransferLeadership(0));
        cluster.run_until("another leader", |cluster| cluster.leader().is_some_and(|leader| leader != old));
        cluster.run(20);
        for (_, call) in &asked {
            assert!(matches!(cluster.reply(*call), Some(Err(Refusal::NotLeader { .. }))), "seed {seed}");
        }
        // They come again in another order.
        let new = cluster.elect();
        let mut again: Vec<_> = (0..asked.len()).rev().collect();
        again.rotate_left(seed as usize % asked.len());
        let mut calls = vec![0; asked.len()];
        for number in again {
            cluster.run(10);
            let waited_ms = cluster.now_ms - asked[number].0;
            calls[number] = cluster.call(new, waiting_again(&format!("r{number}"), 1, MINUTE_MS, waited_ms));
        }
        for call in calls {
            cluster.call(new, release(holder));
            granted_after(&mut cluster, call);
            holder = granted(reply(&cluster, call).unwrap()).permit;
        }
    });
}

#[test]
fn a_retry_that_waits_gets_what_an_earlier_try_was_granted_without_standing_in_line() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        let old = define(&mut cluster, with_slots(1));
        let first = cluster.call(old, waiting("a", MINUTE_MS));
        // Others wait, too.
        cluster.run(1);
        cluster.call(old, waiting("b", MINUTE_MS));
        cluster.run(seed);
        cluster.crash(old, usize::from(seed.is_multiple_of(2)));
        let new = cluster.elect();
        // Whatever became of the first try, nobody else holds the slot.
        let retry = cluster.call(new, waiting_again("a", 2, MINUTE_MS, 500));
        let other = cluster.call(new, waiting_again("b", 2, MINUTE_MS, 499));
        assert!(granted_after(&mut cluster, retry) <= 400, "seed {seed}");
        if let Some(Ok(reply)) = cluster.reply(first) {
            assert_eq!(granted(reply).permit, granted(self::reply(&cluster, retry).unwrap()).permit);
        }
        assert_eq!(cluster.reply(other), None, "seed {seed}");
        let permit = granted(reply(&cluster, retry).unwrap()).permit;
        cluster.call(new, release(permit));
        granted_after(&mut cluster, other);
    });
}

#[test]
fn a_leader_that_is_cut_off_lets_nobody_go_and_says_so() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        let old = define(&mut cluster, bucket(1, Span::from_secs(1)));
        granted(&cluster.ask(acquire("")));
        let calls: Vec<_> = (0..3).map(|_| cluster.call(old, waiting("", MINUTE_MS))).collect();
        cluster.run(10);
        cluster.isolate(old);
        cluster.run(3_000);
        for call in calls {
            let result = cluster.reply(call);
            assert!(
                matches!(result, Some(Err(Refusal::NotLeader { .. } | Refusal::OutcomeUnknown))),
                "seed {seed}: {result:?}"
            );
        }
    });
}

#[test]
fn live_figures_tell_who_waits() {
    let mut cluster = Cluster::found(1, 3);
    let leader = define(&mut cluster, with_slots(1));
    let of = |call: Call, consumer: &str, priority: Priority| {
        with(call, |acquire| {
            acquire.consumer = Label::new(consumer).unwrap();
            acquire.priority = priority;
        })
    };
    granted(&cluster.ask(of(acquire(""), "holds", Priority::Medium)));
    let patient = || waiting("", MINUTE_MS);
    cluster.call(leader, of(patient(), "waits", Priority::High));
    cluster.run(1_000);
    for (consumer, priority) in
        [("waits", Priority::Low), ("waits", Priority::Low), ("holds", Priority::Medium)]
    {
        cluster.call(leader, of(patient(), consumer, priority));
    }
    let Reply::Usage(Some(usage)) = cluster.ask(usage()) else { panic!("no usage") };
    assert_eq!(usage.waiting, 4);
    let told: Vec<_> = usage
        .consumers
        .iter()
        .map(|figures| (figures.consumer.as_str(), figures.waiting, figures.uses.len()))
        .collect();
    assert_eq!(told, [("holds", [0, 1, 0], 1), ("waits", [2, 0, 1], 0)]);
    let oldest = usage.consumers[1].oldest_wait.unwrap();
    assert!((Span::from_millis(1_000)..Span::from_millis(1_200)).contains(&oldest), "{oldest}");
}

#[test]
fn deleting_the_resource_ends_the_wait() {
    let mut cluster = Cluster::found(1, 3);
    let leader = define(&mut cluster, with_slots(1));
    granted(&cluster.ask(acquire("")));
    let call = cluster.call(leader, waiting("", MINUTE_MS));
    cluster.run(100);
    let generation = cluster.replica(leader).machine().limiter().queueing(&resource()).unwrap().1;
    let delete = DeleteResource { name: resource(), generation };
    cluster.call(leader, command(Command::DeleteResource(delete)));
    cluster.run(PROMPT_MS);
    let answer = reply(&cluster, call).and_then(Reply::answer);
    assert_eq!(answer, Some(&Err(Rejection::ResourceNotFound)));
}

#[test]
fn a_busy_resource_does_not_lose_those_who_wait_behind_what_is_on_its_way() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        let leader = define(&mut cluster, with_slots(3));
        let mut open: Vec<_> = (0..30).map(|_| cluster.call(leader, waiting("", MINUTE_MS))).collect();
        // Each is held for a moment; somebody goes whenever there is a slot, whatever else is under way.
        let began_ms = cluster.now_ms;
        while !open.is_empty() {
            cluster.run(1);
            assert!(cluster.now_ms - began_ms < 2_000, "seed {seed}: {} wait for ever", open.len());
            let done: Vec<_> = open.iter().copied().filter(|call| cluster.reply(*call).is_some()).collect();
            open.retain(|call| !done.contains(call));
            for call in done {
                let permit = granted(reply(&cluster, call).unwrap()).permit;
                cluster.call(leader, release(permit));
            }
        }
    });
}

#[test]
fn a_refill_that_comes_while_a_grant_is_on_its_way_is_used_after_it() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        // It refills faster than an entry is applied.
        let leader = define(&mut cluster, bucket(1, Span::from_millis(3)));
        let calls: Vec<_> = (0..100).map(|_| cluster.call(leader, waiting("", MINUTE_MS))).collect();
        let began_ms = cluster.now_ms;
        for call in calls {
            granted_after(&mut cluster, call);
        }
        let took_ms = cluster.now_ms - began_ms;
        assert!(took_ms <= 100 * PROMPT_MS, "seed {seed}: {took_ms} ms");
    });
}

#[test]
fn nobody_is_proposed_in_vain_while_grants_are_on_their_way() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        let leader = define(&mut cluster, with_slots(2));
        let held = [0, 1].map(|_| granted(&cluster.ask(acquire(""))).permit);
        for _ in 0..10 {
            cluster.call(leader, waiting("", MINUTE_MS));
        }
        cluster.run(500);
        let before = cluster.commands;
        for permit in held {
            // The second is applied when the grant of the first slot is somewhere on its way.
            cluster.call(leader, release(permit));
            cluster.run(seed);
        }
        cluster.run(500);
        assert_eq!(cluster.commands - before, 4, "seed {seed}: two releases and two grants");
    });
}
