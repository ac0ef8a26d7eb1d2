//! Crashes, disks, snapshots.

use tollgate_server::{raft::fatal::Fatal, storage::LogStore};

use crate::{cluster::Cluster, with_seeds, words::*};

#[test]
fn a_crash_of_all_nodes_at_any_moment_loses_nothing_acknowledged() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(50));
        let mut acknowledged = Vec::new();
        for round in 0..4 {
            let leader = cluster.elect();
            let calls: Vec<_> = (0..8)
                .map(|_| {
                    cluster.run(seed % 3);
                    cluster.call(leader, acquire(""))
                })
                .collect();
            cluster.run((seed + round) % 13);
            (1..=3).for_each(|id| cluster.crash(id, (seed as usize + id as usize) % 2));
            for call in calls {
                if let Some(Ok(reply)) = cluster.reply(call) {
                    acknowledged.push(granted(reply).permit);
                }
            }
            (1..=3).for_each(|id| cluster.restart(id));
            let held = holders(&cluster.ask(usage()));
            assert!(acknowledged.iter().all(|permit| held.contains(permit)), "seed {seed}");
        }
        cluster.converge();
    });
}

#[test]
fn a_follower_that_was_down_catches_up_from_the_log() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(100));
        let follower = cluster.follower();
        cluster.crash(follower, 0);
        for _ in 0..20 {
            granted(&cluster.ask(acquire("")));
        }
        cluster.restart(follower);
        cluster.converge();
    });
}

#[test]
fn the_log_is_cut_behind_snapshots_and_a_laggard_gets_one() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(1_000));
        let follower = cluster.follower();
        cluster.crash(follower, 0);
        let had = cluster.disk(follower).clone().load().unwrap().entries.len() as u64;
        for _ in 0..400 {
            granted(&cluster.ask(acquire("")));
        }
        let leader = cluster.elect();
        let log = cluster.disk(leader).clone().load().unwrap();
        assert!(log.mark.compacted_index > had, "seed {seed}: nothing was cut");
        assert!(log.entries.len() < 400, "seed {seed}: {} entries are left", log.entries.len());

        cluster.restart(follower);
        cluster.converge();
        assert!(cluster.replica(follower).snapshot_index() > had, "seed {seed}");
        // What it installed is what it starts from.
        cluster.crash(follower, 0);
        cluster.restart(follower);
        cluster.converge();
        assert_eq!(holders(&cluster.ask(usage())).len(), 400);
    });
}

#[test]
fn a_crash_while_a_snapshot_is_installed_does_no_harm() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(1_000));
        let follower = cluster.follower();
        cluster.crash(follower, 0);
        for _ in 0..400 {
            granted(&cluster.ask(acquire("")));
        }
        for round in 0..10 {
            cluster.restart(follower);
            cluster.run(100 + (seed * 7 + round * 11) % 90);
            cluster.crash(follower, (round % 2) as usize);
        }
        cluster.restart(follower);
        cluster.converge();
    });
}

#[test]
fn an_election_while_a_snapshot_is_being_written_does_no_harm() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(1_000));
        let follower = cluster.follower();
        cluster.crash(follower, 0);
        let had = cluster.disk(follower).clone().load().unwrap().entries.len() as u64;
        for _ in 0..400 {
            granted(&cluster.ask(acquire("")));
        }
        // It takes longer than any election timeout, and the leader is gone meanwhile.
        cluster.set_write_delay(follower, 5_000);
        cluster.restart(follower);
        cluster.run_until("the snapshot", |cluster| cluster.replica(follower).snapshot_index() > had);
        cluster.isolate(follower);
        cluster.run(4_000);
        cluster.set_write_delay(follower, 0);
        cluster.heal();
        cluster.run(5_000);
        cluster.converge();
    });
}

#[test]
fn a_node_that_lost_what_it_acknowledged_stops() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(10));
        let follower = cluster.follower();
        let old = cluster.disk(follower).clone().load().unwrap();
        for _ in 0..5 {
            granted(&cluster.ask(acquire("")));
        }
        cluster.converge();
        cluster.replace_disk(follower, old);
        cluster.run(2_000);
        assert!(
            matches!(cluster.ended(follower), Some(Err(Fatal::LostEntries { .. }))),
            "seed {seed}: {:?}",
            cluster.ended(follower)
        );
    });
}

#[test]
fn a_node_that_was_founded_with_other_members_stops() {
    let mut cluster = Cluster::found(1, 3);
    cluster.found_differently(3);
    cluster.run(5_000);
    let stopped = (1..=3).find_map(|id| cluster.ended(id));
    assert!(matches!(stopped, Some(Err(Fatal::Diverged { .. }))), "{stopped:?}");
}
