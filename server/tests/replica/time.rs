//! Cluster time, end to end.

use tollgate_limiter::Span;

use crate::{cluster::Cluster, with_seeds, words::*};

const HOUR_MS: i64 = 3_600_000;

/// Cluster time after an entry of now, in milliseconds.
fn cluster_ms(cluster: &mut Cluster) -> u64 {
    // A release of nothing: it changes no limit, but it is an entry.
    cluster.ask(acquire_attempt("", 2));
    let leader = cluster.elect();
    cluster.replica(leader).machine().limiter().now().cluster.since(Default::default()).as_nanos() / 1_000_000
}

/// Cluster time that passes while `act` does something, and real time beside it.
fn elapsed(cluster: &mut Cluster, act: impl FnOnce(&mut Cluster)) -> (u64, u64) {
    let (before, real_before) = (cluster_ms(cluster), cluster.now_ms);
    act(cluster);
    let after = cluster_ms(cluster);
    (after - before, cluster.now_ms - real_before)
}

#[test]
fn time_passes_as_it_does_for_the_leader() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(1));
        let (passed, real) = elapsed(&mut cluster, |cluster| cluster.run(10_000));
        assert!(passed.abs_diff(real) <= 50, "seed {seed}: {passed} ms in {real} ms");
    });
}

#[test]
fn time_passes_under_load_too() {
    let mut cluster = Cluster::found(1, 3);
    cluster.ask(create(1));
    let (passed, real) = elapsed(&mut cluster, |cluster| {
        for _ in 0..500 {
            cluster.ask(acquire_attempt("", 2));
        }
    });
    assert!(passed.abs_diff(real) <= 50, "{passed} ms in {real} ms");
}

#[test]
fn jumps_of_wall_clocks_change_nothing() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(1));
        let (passed, real) = elapsed(&mut cluster, |cluster| {
            for (id, error_ms) in [(1, HOUR_MS), (2, -HOUR_MS), (3, 5 * HOUR_MS), (1, -HOUR_MS)] {
                cluster.set_wall_error(id, error_ms);
                cluster.run(1_000);
            }
        });
        assert!(passed.abs_diff(real) <= 50, "seed {seed}: {passed} ms in {real} ms");
    });
}

#[test]
fn a_failover_never_makes_time_run_ahead() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(1));
        let (passed, real) = elapsed(&mut cluster, |cluster| {
            for _ in 0..5 {
                let leader = cluster.elect();
                cluster.crash(leader, 0);
                cluster.ask(acquire_attempt("", 2));
                cluster.restart(leader);
                cluster.run(2_000);
            }
        });
        assert!(passed <= real + 5, "seed {seed}: {passed} ms in {real} ms");
        assert!(real.saturating_sub(passed) <= 500, "seed {seed}: {passed} ms in {real} ms");
    });
}

#[test]
fn an_outage_of_all_nodes_is_credited_by_the_median_of_their_clocks() {
    for (wrong_ms, seed) in [0, 24 * HOUR_MS, -24 * HOUR_MS].into_iter().zip(1..) {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(1));
        granted(&cluster.ask(acquire("")));
        let (passed, real) = elapsed(&mut cluster, |cluster| {
            (1..=3).for_each(|id| cluster.crash(id, 0));
            cluster.run(20_000);
            (1..=3).for_each(|id| cluster.restart(id));
            cluster.set_wall_error(seed, wrong_ms);
            cluster.elect();
            // Until every clock was heard.
            cluster.run(1_000);
        });
        assert!(passed <= real + 5, "{wrong_ms}: {passed} ms in {real} ms");
        assert!(wrong_ms < 0 || real.saturating_sub(passed) <= 500, "{wrong_ms}: {passed} ms in {real} ms");
        // The lease was 60 s: it has not run out for a clock that is wrong.
        assert_eq!(holders(&cluster.ask(usage())).len(), 1, "{wrong_ms}");
    }
}

#[test]
fn nothing_is_granted_before_an_outage_is_credited() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(1));
        (1..=3).for_each(|id| cluster.crash(id, 0));
        cluster.run(2 * LEASE.as_nanos() / 1_000_000);
        cluster.tells_time = false;
        (1..=3).for_each(|id| cluster.restart(id));
        let leader = cluster.elect();
        let first = cluster.call(leader, acquire("first"));
        cluster.run(300);
        cluster.tells_time = true;
        cluster.run_until("it is answered", |cluster| cluster.reply(first).is_some());
        cluster.run(1_000);
        // The slot is held: the outage was before its lease, and is no part of it.
        granted(cluster.reply(first).unwrap().as_ref().unwrap());
        let second = cluster.ask(acquire("second"));
        assert!(is_denied(&second), "seed {seed}: {second:?}");
    });
}

#[test]
fn all_nodes_agree_on_time() {
    let mut cluster = Cluster::found(3, 3);
    cluster.ask(create(1));
    cluster.run(5_000);
    cluster.ask(acquire_attempt("", 2));
    cluster.converge();
    let stamps: Vec<_> = (1..=3).map(|id| cluster.replica(id).machine().limiter().now()).collect();
    assert_eq!(stamps[0], stamps[1]);
    assert_eq!(stamps[1], stamps[2]);
    assert!(stamps[0].cluster.since(Default::default()) >= Span::from_secs(5));
}

#[test]
fn an_outage_is_measured_from_the_last_stamp_even_if_wall_clocks_were_set_before() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(1));
        let (passed, real) = elapsed(&mut cluster, |cluster| {
            (1..=3).for_each(|id| cluster.set_wall_error(id, HOUR_MS));
            cluster.run(1_000);
            // The stamp of this entry comes after the jump. That it was committed is on no disk.
            cluster.ask(acquire_attempt("", 2));
            (1..=3).for_each(|id| cluster.crash(id, 0));
            cluster.run(50);
            (1..=3).for_each(|id| cluster.restart(id));
            cluster.run(3_000);
        });
        assert!(passed <= real + 20, "seed {seed}: {passed} ms in {real} ms");
    });
}

#[test]
fn what_a_node_catches_up_on_does_not_set_its_clock_back() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(1));
        let (passed, real) = elapsed(&mut cluster, |cluster| {
            // Both followers miss an entry for a long time, one by a crash, the other by the network.
            let old = cluster.elect();
            let followers: Vec<_> = (1..=3).filter(|id| *id != old).collect();
            cluster.crash(followers[0], 0);
            cluster.ask(acquire_attempt("", 2));
            cluster.run(20_000);
            cluster.restart(followers[0]);
            cluster.run(1_000);
            cluster.isolate(followers[1]);
            cluster.run(1_000);
            cluster.ask(acquire_attempt("", 2));
            cluster.run(20_000);
            cluster.heal();
            cluster.run(2_000);
            let leader = cluster.elect();
            cluster.crash(leader, 0);
            cluster.elect();
        });
        assert!(passed <= real + 5, "seed {seed}: {passed} ms in {real} ms");
        assert!(real.saturating_sub(passed) <= 500, "seed {seed}: {passed} ms in {real} ms");
    });
}
