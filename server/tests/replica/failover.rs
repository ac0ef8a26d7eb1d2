//! Leaders that crash, are cut off, or hand over.

use tollgate_server::raft::{
    call::{Call, MemberChange, MemberRefusal, Refusal, Reply},
    replica::Event,
};

use crate::{cluster::Cluster, with_seeds, words::*};

#[test]
fn a_crash_of_the_leader_loses_no_grant_and_repeats_none() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(5));
        let mut permits = Vec::new();
        for round in 0..5 {
            permits.push(granted(&cluster.ask(acquire(&format!("request-{round}")))).permit);
            let leader = cluster.elect();
            cluster.crash(leader, 0);
            let mut held = holders(&cluster.ask(usage()));
            held.sort_unstable();
            assert_eq!(held, permits, "seed {seed}");
            cluster.restart(leader);
        }
        assert!(is_denied(&cluster.ask(acquire("one-more"))));
        let replay = cluster.ask(acquire_attempt("request-0", 2));
        assert_eq!(granted(&replay).permit, permits[0]);
        cluster.converge();
    });
}

#[test]
fn a_leader_that_is_cut_off_says_that_it_does_not_know() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(5));
        let old = cluster.elect();
        cluster.isolate(old);
        let proposed = cluster.call(old, acquire("proposed"));
        let asked = cluster.call(old, usage());
        cluster.run(2_000);
        assert_eq!(cluster.reply(proposed), Some(&Err(Refusal::OutcomeUnknown)), "seed {seed}");
        assert_eq!(cluster.reply(asked), Some(&Err(Refusal::NotLeader { leader: None })), "seed {seed}");
        let late = cluster.call(old, acquire("late"));
        assert_eq!(cluster.reply(late), Some(&Err(Refusal::NotLeader { leader: None })), "seed {seed}");

        // The others have gone on, and what was never committed is forgotten.
        granted(&cluster.ask(acquire("elsewhere")));
        cluster.heal();
        cluster.run(1_000);
        cluster.converge();
        assert_eq!(holders(&cluster.ask(usage())).len(), 1, "seed {seed}");
    });
}

#[test]
fn a_retry_finds_what_the_crashed_leader_had_granted() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(1));
        let leader = cluster.elect();
        let first = cluster.call(leader, acquire("a"));
        // Some time between the proposal and the answer.
        cluster.run(seed % 10);
        cluster.crash(leader, usize::from(seed.is_multiple_of(2)));
        let retried = cluster.ask(acquire_attempt("a", 2));
        let permit = granted(&retried).permit;
        if let Some(Ok(reply)) = cluster.reply(first) {
            assert_eq!(granted(reply).permit, permit, "seed {seed}");
        }
        assert_eq!(holders(&cluster.ask(usage())), [permit], "seed {seed}");
    });
}

#[test]
fn nothing_is_answered_before_the_first_entry_of_the_own_term() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(1));
        let old = cluster.elect();
        cluster.crash(old, 0);
        // Ask everybody all the time: who answers must have applied an entry of its term.
        for _ in 0..3_000 {
            cluster.run(1);
            for id in (1..=3).filter(|id| *id != old) {
                let call = cluster.call(id, acquire_attempt("a", 1));
                if cluster.reply(call).is_some_and(|result| result.is_ok()) {
                    let status = cluster.replica(id).status();
                    assert_eq!(cluster.replica(id).machine().term(), status.term, "seed {seed}");
                }
            }
        }
        assert_eq!(holders(&cluster.ask(usage())).len(), 1);
    });
}

#[test]
fn leadership_is_transferred_to_whom_it_was_asked_for() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(100));
        for to in [1, 2, 3, 0] {
            let leader = cluster.elect();
            let open: Vec<_> = (0..5).map(|_| cluster.call(leader, acquire(""))).collect();
            let transfer = cluster.call(leader, Call::TransferLeadership(to));
            let held_back = cluster.call(leader, acquire(""));
            cluster.run_until("the transfer", |cluster| cluster.reply(transfer).is_some());
            let Some(Ok(Reply::Changed(Ok(MemberChange::Transferred(new))))) = cluster.reply(transfer) else {
                panic!("seed {seed}: {:?}", cluster.reply(transfer))
            };
            assert!(*new == to || to == 0, "seed {seed}");
            // What was proposed is answered; what was not is definitely not done. Nobody is left in doubt.
            for call in open.into_iter().chain([held_back]) {
                match cluster.reply(call) {
                    Some(Ok(reply)) => drop(granted(reply)),
                    Some(Err(Refusal::NotLeader { .. })) => {}
                    None if *new == leader => {}
                    other => panic!("seed {seed}: {other:?}"),
                }
            }
        }
    });
}

#[test]
fn a_transfer_to_a_dead_node_ends_and_the_old_leader_goes_on() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(1));
        let dead = cluster.follower();
        cluster.crash(dead, 0);
        let leader = cluster.elect();
        let transfer = cluster.ask(Call::TransferLeadership(dead));
        assert_eq!(transfer, Reply::Changed(Err(MemberRefusal::TransferTimedOut(dead))), "seed {seed}");
        assert_eq!(cluster.elect(), leader);
        granted(&cluster.ask(acquire("")));
    });
}

#[test]
fn a_leader_that_shuts_down_answers_what_is_open_and_hands_over_quickly() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(10));
        let old = cluster.elect();
        let open = cluster.call(old, acquire(""));
        cluster.inject(old, Event::ShutDown);
        let late = cluster.call(old, acquire(""));
        assert_eq!(cluster.reply(late), Some(&Err(Refusal::ShuttingDown)));
        let began_ms = cluster.now_ms;
        cluster.run_until("the end", |cluster| cluster.ended(old).is_some());
        granted(cluster.reply(open).unwrap().as_ref().unwrap());
        cluster.elect();
        let gap_ms = cluster.now_ms - began_ms;
        assert!(gap_ms <= 200, "seed {seed}: {gap_ms} ms of simulated time");
        granted(&cluster.ask(acquire("")));
    });
}

#[test]
fn a_single_node_shuts_down_without_anybody_to_hand_over_to() {
    let mut cluster = Cluster::found(1, 1);
    cluster.ask(create(1));
    let open = cluster.call(1, acquire(""));
    cluster.inject(1, Event::ShutDown);
    cluster.run(1_000);
    assert!(matches!(cluster.ended(1), Some(Ok(()))));
    granted(cluster.reply(open).unwrap().as_ref().unwrap());
}
