//! Members that come and go.

use tollgate_server::raft::{
    call::{Call, MemberChange, MemberRefusal, Reply},
    fatal::Fatal,
};

use crate::{
    cluster::{Cluster, member},
    with_seeds,
    words::*,
};

fn is_voter(cluster: &Cluster, at: u64, id: u64) -> bool {
    cluster.replica(at).machine().voters().contains(&id) && !cluster.replica(at).machine().is_joint()
}

#[test]
fn a_new_member_learns_and_then_votes() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(1_000));
        for _ in 0..(seed % 3) * 200 {
            granted(&cluster.ask(acquire("")));
        }
        cluster.start_joiner(4);
        let Reply::Changed(Ok(MemberChange::Added(added))) = cluster.ask(Call::AddMember(member(4))) else {
            panic!("seed {seed}: not added")
        };
        assert!(!added.voter, "seed {seed}");
        cluster.run_until("the promotion", |cluster| (1..=4).all(|id| is_voter(cluster, id, 4)));
        cluster.converge();

        // It carries a quorum: two of four are not enough, three are.
        let follower = (1..=3).find(|id| Some(*id) != cluster.leader()).unwrap();
        cluster.crash(follower, 0);
        granted(&cluster.ask(acquire("")));
    });
}

#[test]
fn a_member_is_removed_and_its_id_is_never_used_again() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(10));
        let gone = cluster.follower();
        assert_eq!(cluster.ask(Call::RemoveMember(gone)), Reply::Changed(Ok(MemberChange::Removed)));
        let leader = cluster.elect();
        assert_eq!(cluster.replica(leader).machine().voters().len(), 2, "seed {seed}");
        let again = cluster.ask(Call::AddMember(member(gone)));
        assert_eq!(again, Reply::Changed(Err(MemberRefusal::IdWasRemoved(gone))));
        let twice = cluster.ask(Call::RemoveMember(gone));
        assert_eq!(twice, Reply::Changed(Err(MemberRefusal::NotFound(gone))));
        granted(&cluster.ask(acquire("")));
        // Whether it heard of it in time or not, it does no harm.
        cluster.run(5_000);
        assert!(matches!(cluster.ended(gone), None | Some(Err(Fatal::Removed(_)))), "seed {seed}");
        assert_eq!(cluster.elect(), leader, "seed {seed}: the leader was disturbed");
    });
}

#[test]
fn a_removal_that_was_answered_holds_after_a_crash_of_all_nodes() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 4);
        cluster.ask(create(10));
        let gone = cluster.follower();
        assert_eq!(cluster.ask(Call::RemoveMember(gone)), Reply::Changed(Ok(MemberChange::Removed)));
        (1..=4).filter(|id| *id != gone).for_each(|id| cluster.crash(id, 0));
        // Two of the three that are left are a quorum; of the four before they were none.
        (1..=4).filter(|id| *id != gone).take(2).for_each(|id| cluster.restart(id));
        granted(&cluster.ask(acquire("")));
    });
}

#[test]
fn a_leader_hands_over_before_it_is_removed() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(10));
        let old = cluster.elect();
        // `ask` goes to whoever leads, as the router does.
        assert_eq!(cluster.ask(Call::RemoveMember(old)), Reply::Changed(Ok(MemberChange::Removed)));
        assert_ne!(cluster.elect(), old, "seed {seed}");
        granted(&cluster.ask(acquire("")));
    });
}

#[test]
fn a_node_that_comes_to_lead_its_own_removal_steps_down() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(10_000));
        let old = cluster.elect();
        let gone = cluster.follower();
        // The others have the change in their logs when its leader dies.
        cluster.call(old, Call::RemoveMember(gone));
        cluster.run(6);
        cluster.crash(old, 0);
        cluster.run(1_500);
        cluster.restart(old);
        for _ in 0..3_000 {
            cluster.run(1);
            if let Some(leader) = cluster.leader() {
                cluster.call(leader, acquire(""));
            }
        }
        assert!(matches!(cluster.ended(gone), None | Some(Err(Fatal::Removed(_)))), "seed {seed}");
        cluster.run(1_000);
        let leader = cluster.elect();
        assert_ne!(leader, gone, "seed {seed}");
        assert!(!cluster.replica(leader).machine().voters().contains(&gone), "seed {seed}");
        granted(&cluster.ask(acquire("")));
    });
}

#[test]
fn a_cluster_shrinks_to_one_and_grows_again() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(100));
        for _ in 0..2 {
            let gone = cluster.follower();
            assert_eq!(cluster.ask(Call::RemoveMember(gone)), Reply::Changed(Ok(MemberChange::Removed)));
            cluster.run(1_000);
            cluster.crash(gone, 0);
        }
        let last = cluster.elect();
        let refused = cluster.ask(Call::RemoveMember(last));
        assert_eq!(refused, Reply::Changed(Err(MemberRefusal::LastVoter(last))));
        granted(&cluster.ask(acquire("")));
        for id in [4, 5] {
            cluster.start_joiner(id);
            cluster.ask(Call::AddMember(member(id)));
            cluster.run_until("the promotion", |cluster| is_voter(cluster, last, id));
        }
        cluster.crash(last, 0);
        assert_eq!(holders(&cluster.ask(usage())).len(), 1, "seed {seed}");
    });
}

#[test]
fn one_change_at_a_time() {
    let mut cluster = Cluster::found(1, 3);
    let leader = cluster.elect();
    let first = cluster.call(leader, Call::AddMember(member(4)));
    let second = cluster.call(leader, Call::AddMember(member(5)));
    cluster.run(500);
    assert!(matches!(cluster.reply(first), Some(Ok(Reply::Changed(Ok(MemberChange::Added(_)))))));
    assert_eq!(cluster.reply(second), Some(&Ok(Reply::Changed(Err(MemberRefusal::ChangeInProgress)))));
    let mut alike = member(6);
    alike.client_address = member(4).client_address;
    assert_eq!(cluster.ask(Call::AddMember(alike)), Reply::Changed(Err(MemberRefusal::Exists(4))));
}

#[test]
fn an_incarnation_is_recorded_once() {
    let mut cluster = Cluster::found(1, 3);
    let follower = cluster.follower();
    let register = |incarnation| Call::RegisterIncarnation { id: follower, incarnation };
    assert_eq!(cluster.ask(register(7)), Reply::Changed(Ok(MemberChange::Registered)));
    assert_eq!(cluster.ask(register(7)), Reply::Changed(Ok(MemberChange::Registered)));
    assert_eq!(cluster.ask(register(8)), Reply::Changed(Err(MemberRefusal::WipedData(follower))));
    cluster.converge();
    let leader = cluster.elect();
    let members = cluster.replica(follower).machine().members();
    assert_eq!(members.by_id[&follower].incarnation, Some(7));
    assert_eq!(members.by_id[&leader].incarnation, Some(1_000 + leader), "the leader knows itself");
}
