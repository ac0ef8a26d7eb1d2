//! Disks that have less room than their reserve.

use tollgate_server::raft::{
    call::{Call, MemberChange, Refusal, Reply},
    members::NodeId,
    replica::Event,
};

use crate::{cluster::Cluster, with_seeds, words::*};

/// A cluster of three with a resource, at rest: everybody knows what disks the others have.
fn settled(seed: u64) -> (Cluster, NodeId) {
    let mut cluster = Cluster::found(seed, 3);
    cluster.ask(create(100));
    cluster.run(1_000);
    let leader = cluster.elect();
    (cluster, leader)
}

fn set_low(cluster: &mut Cluster, ids: impl IntoIterator<Item = NodeId>, low: bool) {
    ids.into_iter().for_each(|id| cluster.inject(id, Event::DiskSpace { low }));
}

fn followers(leader: NodeId) -> impl Iterator<Item = NodeId> {
    (1..=3).filter(move |id| *id != leader)
}

fn term(cluster: &Cluster, id: NodeId) -> u64 {
    cluster.replica(id).status().term
}

/// Changes are refused, queries are answered, and nobody is elected, however long that lasts.
fn refuses_in_peace(cluster: &mut Cluster, leader: NodeId) {
    let before = term(cluster, leader);
    for _ in 0..30 {
        let call = cluster.call(leader, acquire(""));
        assert_eq!(cluster.reply(call), Some(&Err(Refusal::StorageFull)));
        cluster.run(1_000);
        assert_eq!((cluster.elect(), term(cluster, leader)), (leader, before));
    }
    holders(&cluster.ask(usage()));
}

fn wait_for_leader(cluster: &mut Cluster, among: &[NodeId]) {
    cluster.run_until("a leader with room", |cluster| cluster.leader().is_some_and(|id| among.contains(&id)));
}

#[test]
fn a_leader_whose_disk_is_low_hands_over_at_once() {
    with_seeds(|seed| {
        let (mut cluster, old) = settled(seed);
        let open = cluster.call(old, acquire(""));
        set_low(&mut cluster, [old], true);
        let refused = cluster.call(old, acquire(""));
        assert_eq!(cluster.reply(refused), Some(&Err(Refusal::StorageFull)), "seed {seed}");
        let (began_ms, before) = (cluster.now_ms, term(&cluster, old));
        wait_for_leader(&mut cluster, &followers(old).collect::<Vec<_>>());
        let gap_ms = cluster.now_ms - began_ms;
        assert!(gap_ms <= 200, "seed {seed}: {gap_ms} ms of simulated time");
        granted(cluster.reply(open).unwrap().as_ref().unwrap());
        granted(&cluster.ask(acquire("")));

        // One election was enough, and leadership does not come back with the room.
        let new = cluster.elect();
        cluster.run(30_000);
        set_low(&mut cluster, [old], false);
        cluster.run(30_000);
        assert_eq!((cluster.elect(), term(&cluster, new)), (new, before + 1), "seed {seed}");
    });
}

#[test]
fn leadership_goes_to_the_one_that_has_room() {
    with_seeds(|seed| {
        let (mut cluster, leader) = settled(seed);
        let with_room = followers(leader).nth(seed as usize % 2).unwrap();
        set_low(&mut cluster, followers(leader).filter(|id| *id != with_room), true);
        cluster.run(500);
        let before = term(&cluster, leader);
        set_low(&mut cluster, [leader], true);
        wait_for_leader(&mut cluster, &[with_room]);
        assert_eq!(term(&cluster, with_room), before + 1, "seed {seed}");
        granted(&cluster.ask(acquire("")));
    });
}

#[test]
fn without_room_anywhere_the_leader_stays_until_there_is_some() {
    with_seeds(|seed| {
        let (mut cluster, leader) = settled(seed);
        set_low(&mut cluster, followers(leader), true);
        cluster.run(500);
        set_low(&mut cluster, [leader], true);
        refuses_in_peace(&mut cluster, leader);

        // Somebody else's room will do…
        let other = followers(leader).nth(seed as usize % 2).unwrap();
        set_low(&mut cluster, [other], false);
        wait_for_leader(&mut cluster, &[other]);
        granted(&cluster.ask(acquire("")));

        // …and so will the leader's own.
        set_low(&mut cluster, [other], true);
        refuses_in_peace(&mut cluster, other);
        set_low(&mut cluster, [other], false);
        granted(&cluster.ask(acquire("")));
    });
}

#[test]
fn disks_that_are_low_all_at_once_cost_few_elections() {
    with_seeds(|seed| {
        let (mut cluster, leader) = settled(seed);
        let before = term(&cluster, leader);
        set_low(&mut cluster, 1..=3, true);
        cluster.run(5_000);
        let last = cluster.elect();
        // Whoever was told too late may have handed over in vain, once.
        assert!(term(&cluster, last) <= before + 3, "seed {seed}");
        refuses_in_peace(&mut cluster, last);
    });
}

#[test]
fn disks_that_flap_do_not_keep_leadership_moving() {
    with_seeds(|seed| {
        let (mut cluster, leader) = settled(seed);
        let before = term(&cluster, leader);
        for _ in 0..60 {
            // Whoever leads is low, and all others have room.
            let leader = cluster.elect();
            set_low(&mut cluster, [leader], true);
            set_low(&mut cluster, followers(leader), false);
            cluster.run(500);
        }
        let leader = cluster.elect();
        // Thirty seconds: each of the three may hand over once in five.
        assert!(term(&cluster, leader) <= before + 3 * 7, "seed {seed}");
        set_low(&mut cluster, 1..=3, false);
        granted(&cluster.ask(acquire("")));
    });
}

#[test]
fn who_is_not_heard_from_is_not_handed_to() {
    with_seeds(|seed| {
        let (mut cluster, leader) = settled(seed);
        let gone = followers(leader).next().unwrap();
        set_low(&mut cluster, followers(leader).filter(|id| *id != gone), true);
        cluster.crash(gone, 0);
        cluster.run(1_000);
        set_low(&mut cluster, [leader], true);
        refuses_in_peace(&mut cluster, leader);
        cluster.restart(gone);
        wait_for_leader(&mut cluster, &[gone]);
        granted(&cluster.ask(acquire("")));
    });
}

#[test]
fn a_low_leader_that_is_alone_serves_again_when_there_is_room() {
    let mut cluster = Cluster::found(1, 1);
    cluster.ask(create(1));
    set_low(&mut cluster, [1], true);
    refuses_in_peace(&mut cluster, 1);
    set_low(&mut cluster, [1], false);
    granted(&cluster.ask(acquire("")));
}

#[test]
fn a_leader_whose_disk_is_low_can_be_relieved_by_hand() {
    with_seeds(|seed| {
        let (mut cluster, leader) = settled(seed);
        set_low(&mut cluster, 1..=3, true);
        cluster.run(5_000);
        let last = cluster.elect();
        let to = followers(last).next().unwrap();
        let transferred = cluster.ask(Call::TransferLeadership(to));
        assert_eq!(transferred, Reply::Changed(Ok(MemberChange::Transferred(to))), "seed {seed}: {leader}");
    });
}

#[test]
fn a_low_leader_that_shuts_down_hands_over_to_one_with_room() {
    with_seeds(|seed| {
        let (mut cluster, leader) = settled(seed);
        let with_room = followers(leader).nth(seed as usize % 2).unwrap();
        set_low(&mut cluster, followers(leader).filter(|id| *id != with_room), true);
        cluster.run(500);
        set_low(&mut cluster, [leader], true);
        cluster.run(50);
        cluster.inject(leader, Event::ShutDown);
        cluster.run_until("the end", |cluster| cluster.ended(leader).is_some());
        assert!(matches!(cluster.ended(leader), Some(Ok(()))), "seed {seed}");
        wait_for_leader(&mut cluster, &[with_room]);
        granted(&cluster.ask(acquire("")));
    });
}
