//! What a healthy cluster answers.

use tollgate_server::raft::call::{Call, Query, Refusal, Reply};

use crate::{cluster::Cluster, with_seeds, words::*};

#[test]
fn a_leader_is_elected_and_grants() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(1));
        let permit = granted(&cluster.ask(acquire(""))).permit;
        assert_eq!(holders(&cluster.ask(usage())), [permit]);
        cluster.converge();
    });
}

#[test]
fn one_node_is_a_cluster() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 1);
        cluster.ask(create(1));
        granted(&cluster.ask(acquire("")));
        cluster.crash(1, 0);
        cluster.restart(1);
        assert!(is_denied(&cluster.ask(acquire(""))));
    });
}

#[test]
fn a_follower_names_the_leader() {
    let mut cluster = Cluster::found(1, 3);
    let (follower, leader) = (cluster.follower(), cluster.elect());
    cluster.run(200);
    let call = cluster.call(follower, acquire(""));
    assert_eq!(cluster.reply(call), Some(&Err(Refusal::NotLeader { leader: Some(leader) })));
}

#[test]
fn what_is_asked_while_two_entries_are_agreed_upon_goes_together() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(100));
        cluster.converge();
        let leader = cluster.elect();
        for follower in (1..=3).filter(|id| *id != leader) {
            cluster.set_write_delay(follower, 200);
        }
        let before = cluster.replica(leader).status().commit_index;
        let calls: Vec<_> = (0..10)
            .map(|_| {
                cluster.run(10);
                cluster.call(leader, acquire(""))
            })
            .collect();
        cluster.run_until("all answers", |cluster| calls.iter().all(|call| cluster.reply(*call).is_some()));
        for call in calls {
            granted(cluster.reply(call).unwrap().as_ref().unwrap());
        }
        let entries = cluster.replica(leader).status().commit_index - before;
        assert_eq!(
            entries, 3,
            "seed {seed}: the first, the second, and what came while they were on their way"
        );
    });
}

#[test]
fn many_who_ask_need_not_wait_for_the_entries_before_theirs() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(10_000));
        cluster.converge();
        let leader = cluster.elect();
        for follower in (1..=3).filter(|id| *id != leader) {
            cluster.set_write_delay(follower, 200);
        }
        for _ in 0..2 {
            cluster.call(leader, acquire(""));
            cluster.run(10);
        }
        let many: Vec<_> = (0..1_100).map(|_| cluster.call(leader, acquire(""))).collect();
        cluster.run(330);
        let answered = many.iter().filter(|call| cluster.reply(**call).is_some()).count();
        // Those who came after as many as need not gather had to.
        assert!(answered >= 1_024, "seed {seed}: {answered} were written beside the entries before theirs");
    });
}

#[test]
fn a_denial_writes_nothing() {
    let mut cluster = Cluster::found(1, 3);
    cluster.ask(create(1));
    granted(&cluster.ask(acquire("")));
    let leader = cluster.elect();
    let before = cluster.replica(leader).status().commit_index;
    for _ in 0..100 {
        assert!(is_denied(&cluster.ask(acquire(""))));
    }
    assert_eq!(cluster.replica(leader).status().commit_index, before);
}

#[test]
fn a_retry_goes_through_the_log_even_if_denied() {
    let mut cluster = Cluster::found(1, 3);
    cluster.ask(create(1));
    let permit = granted(&cluster.ask(acquire("a"))).permit;
    let leader = cluster.elect();
    let before = cluster.replica(leader).status().commit_index;
    let replay = cluster.ask(acquire_attempt("a", 2));
    assert_eq!((granted(&replay).permit, granted(&replay).replayed), (permit, true));
    assert!(is_denied(&cluster.ask(acquire_attempt("b", 2))));
    assert_eq!(cluster.replica(leader).status().commit_index, before + 2);
}

#[test]
fn calls_of_one_moment_share_an_entry() {
    let mut cluster = Cluster::found(1, 3);
    cluster.ask(create(1_000));
    let leader = cluster.elect();
    let before = cluster.replica(leader).status().commit_index;
    let calls: Vec<_> = (0..500).map(|_| cluster.call(leader, acquire(""))).collect();
    cluster.run(200);
    for call in calls {
        granted(cluster.reply(call).unwrap().as_ref().unwrap());
    }
    let entries = cluster.replica(leader).status().commit_index - before;
    assert!(entries <= 4, "{entries} entries");
}

#[test]
fn an_idle_cluster_writes_nothing() {
    let mut cluster = Cluster::found(1, 3);
    cluster.ask(create(1));
    cluster.run(1_000);
    let leader = cluster.elect();
    let before = cluster.replica(leader).status().commit_index;
    cluster.run(120_000);
    assert_eq!(cluster.replica(leader).status().commit_index, before);
}

#[test]
fn a_lease_that_runs_out_frees_its_slot_by_itself() {
    let mut cluster = Cluster::found(1, 3);
    cluster.ask(create(1));
    granted(&cluster.ask(acquire("")));
    cluster.run(LEASE.as_nanos() / 1_000_000 - 1_000);
    assert_eq!(holders(&cluster.ask(usage())).len(), 1);
    cluster.run(1_500);
    let leader = cluster.elect();
    assert_eq!(cluster.replica(leader).machine().limiter().totals().leases_expired, 1);
    granted(&cluster.ask(acquire("")));
}

#[test]
fn a_grant_that_nobody_receives_is_given_back() {
    let mut cluster = Cluster::found(1, 3);
    cluster.ask(create(1));
    let leader = cluster.elect();
    let call = cluster.call(leader, acquire("a"));
    cluster.abandon(call);
    cluster.run(500);
    assert!(holders(&cluster.ask(usage())).is_empty());
    granted(&cluster.ask(acquire("b")));
}

#[test]
fn queries_see_what_was_acknowledged() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(3));
        for count in 1..=3 {
            granted(&cluster.ask(acquire("")));
            assert_eq!(holders(&cluster.ask(usage())).len(), count);
        }
        let Reply::Cluster(view) = cluster.ask(Call::Query(Query::Cluster)) else { panic!("no view") };
        assert_eq!(view.members.len(), 3);
        assert!(view.members.iter().all(|member| member.voter && member.reachable));
    });
}

#[test]
fn a_released_slot_is_free_at_once() {
    let mut cluster = Cluster::found(1, 3);
    cluster.ask(create(1));
    let permit = granted(&cluster.ask(acquire(""))).permit;
    cluster.ask(release(permit));
    granted(&cluster.ask(acquire("")));
}
