//! Everything at once: whatever happens, no acknowledged grant is lost, no slot is held twice, a definite refusal has no
//! effect, and after healing all nodes agree.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_limiter::{Outcome, PermitId};
use tollgate_server::raft::{
    call::{Call, Refusal},
    members::NodeId,
    replica::Event,
};

use crate::{
    cluster::{CallNumber, Cluster, member},
    words::*,
};

const SLOTS: u32 = 40;
const STEPS: u64 = 150;

/// What clients did, and what they know of it.
#[derive(Default)]
struct Clients {
    open: BTreeMap<CallNumber, Asked>,
    held: BTreeSet<PermitId>,
    released: BTreeSet<PermitId>,
    /// Permits whose release was not answered.
    fading: BTreeSet<PermitId>,
    /// Requests that may have been granted without an answer.
    in_doubt: BTreeSet<String>,
    /// Where those were asked that may still wait.
    waiting: BTreeMap<CallNumber, NodeId>,
    requests: u64,
}

enum Asked {
    Acquire(String),
    Release(PermitId),
    Other,
}

impl Clients {
    /// Notes the replies that have come.
    fn listen(&mut self, cluster: &mut Cluster, seed: u64) {
        let answered: Vec<_> =
            self.open.keys().copied().filter(|number| cluster.reply(*number).is_some()).collect();
        for number in answered {
            self.waiting.remove(&number);
            let (Some(asked), Some(result)) = (self.open.remove(&number), cluster.reply(number)) else {
                unreachable!("filtered above")
            };
            match (asked, result) {
                (Asked::Acquire(_), Ok(reply)) => match reply.answer() {
                    Some(Ok(Outcome::Granted(grant))) => {
                        let is_new = self.held.insert(grant.permit) && !self.released.contains(&grant.permit);
                        assert!(is_new, "seed {seed}: {:?} was granted twice", grant.permit);
                    }
                    _ => assert!(is_denied(reply), "seed {seed}: {reply:?}"),
                },
                (Asked::Acquire(id), Err(Refusal::OutcomeUnknown)) => {
                    self.in_doubt.insert(id);
                }
                (Asked::Release(permit), Ok(_)) => {
                    assert!(self.released.insert(permit), "seed {seed}: {permit:?} was released twice");
                }
                (Asked::Release(permit), Err(Refusal::OutcomeUnknown)) => {
                    self.fading.insert(permit);
                }
                (Asked::Release(permit), Err(_)) => {
                    self.held.insert(permit);
                }
                (Asked::Acquire(_), Err(_)) | (Asked::Other, _) => {}
            }
        }
    }

    fn acquire(&mut self, cluster: &mut Cluster, at: NodeId) {
        self.requests += 1;
        let id = format!("request-{}", self.requests);
        // Every other one waits.
        let max_wait_ms = cluster.draw(2) * cluster.draw(10_000);
        let number = match max_wait_ms {
            0 => cluster.call(at, acquire(&id)),
            _ => cluster.call(at, waiting(&id, max_wait_ms)),
        };
        if max_wait_ms > 0 {
            self.waiting.insert(number, at);
        }
        self.open.insert(number, Asked::Acquire(id));
    }

    /// Somebody who may still wait gives up. Its grant may be on its way, and the node may die before it goes back.
    fn cancel(&mut self, cluster: &mut Cluster) {
        let Some((number, at)) = self.waiting.pop_first() else { return };
        if let Some(Asked::Acquire(id)) = self.open.remove(&number) {
            self.in_doubt.insert(id);
            cluster.cancel(at, number);
        }
    }

    fn release(&mut self, cluster: &mut Cluster, at: NodeId) {
        let Some(permit) = self.held.pop_first() else { return };
        let number = cluster.call(at, release(permit));
        self.open.insert(number, Asked::Release(permit));
    }

    /// Calls to a node that has died are never answered.
    fn give_up(&mut self) {
        for asked in std::mem::take(&mut self.open).into_values() {
            match asked {
                Asked::Acquire(id) => self.in_doubt.insert(id),
                Asked::Release(permit) => self.fading.insert(permit),
                Asked::Other => false,
            };
        }
    }
}

fn disturb(cluster: &mut Cluster, clients: &mut Clients, nodes: u64, seed: u64) {
    let id = 1 + cluster.draw(nodes);
    match cluster.draw(24) {
        0 if cluster.is_up(id) => cluster.crash(id, seed as usize % 3),
        1..=3 if !cluster.is_up(id) => cluster.restart(id),
        14 if seed.is_multiple_of(2) => {
            (1..=nodes).filter(|id| cluster.is_up(*id)).collect::<Vec<_>>().into_iter().for_each(|id| {
                let kept = cluster.draw(3) as usize;
                cluster.crash(id, kept);
                cluster.restart(id);
            });
        }
        4 => cluster.isolate(id),
        5 | 6 => cluster.heal(),
        7 => {
            let number = cluster.call(id, Call::TransferLeadership(0));
            clients.open.insert(number, Asked::Other);
        }
        8 => {
            let number = cluster.call(id, Call::AddMember(member(4)));
            clients.open.insert(number, Asked::Other);
        }
        9 => {
            // One clock may be as wrong as it likes.
            let error_ms = cluster.draw(7_200_000) as i64 - 3_600_000;
            cluster.set_wall_error(1, error_ms);
        }
        15 => {
            let low = cluster.draw(2) == 0;
            cluster.inject(id, Event::DiskSpace { low });
        }
        10..=13 => clients.release(cluster, id),
        16 => clients.cancel(cluster),
        _ => (0..4).for_each(|_| clients.acquire(cluster, id)),
    }
    let pause_ms = cluster.draw(150);
    cluster.run(pause_ms);
}

/// Returns what a second run of the seed must come to, too: the state, and how much has happened.
fn survives_chaos(seed: u64) -> (u64, u64) {
    let mut cluster = Cluster::found(seed, 3);
    cluster.slow_disks = true;
    cluster.ask(create(SLOTS));
    cluster.start_joiner(4);
    let mut clients = Clients::default();
    for _ in 0..STEPS {
        // Clients ask whoever leads more often than anybody.
        if let Some(leader) = cluster.leader() {
            clients.acquire(&mut cluster, leader);
        }
        disturb(&mut cluster, &mut clients, 4, seed);
        clients.listen(&mut cluster, seed);
        (1..=4).for_each(|id| {
            let ended = cluster.ended(id);
            assert!(ended.is_none(), "seed {seed}: node {id} ended: {ended:?}");
        });
    }

    cluster.heal();
    (1..=4)
        .filter(|id| !cluster.is_up(*id))
        .collect::<Vec<_>>()
        .into_iter()
        .for_each(|id| cluster.restart(id));
    (1..=4).for_each(|id| cluster.inject(id, Event::DiskSpace { low: false }));
    cluster.run(10_000);
    clients.listen(&mut cluster, seed);
    clients.give_up();
    let in_state: BTreeSet<_> = holders(&cluster.ask(usage())).into_iter().collect();
    assert!(in_state.len() <= SLOTS as usize, "seed {seed}: {} holders", in_state.len());
    let lost: Vec<_> = clients.held.difference(&in_state).collect();
    assert!(lost.is_empty(), "seed {seed}: {lost:?} were acknowledged, and are lost");
    assert!(in_state.is_disjoint(&clients.released), "seed {seed}: a released permit lives");
    // Whoever is in doubt asks again, and gets the permit that is there, or none. Others have no effect.
    let mut known: BTreeSet<_> = clients.held.union(&clients.fading).copied().collect();
    for id in &clients.in_doubt {
        if let Some(Ok(Outcome::Granted(grant))) = cluster.ask(acquire_attempt(id, 2)).answer() {
            known.insert(grant.permit);
        }
    }
    let unknown: Vec<_> = in_state.difference(&known).collect();
    assert!(unknown.is_empty(), "seed {seed}: {unknown:?} belong to nobody");
    cluster.converge_within_members();
    everybody_has_a_turn(&mut cluster, seed);
    let leader = cluster.elect();
    (cluster.replica(leader).machine().digest(), cluster.plans())
}

/// After all that, no wake-up is lost: slots are held while anybody waits, and each that is freed goes to the next.
fn everybody_has_a_turn(cluster: &mut Cluster, seed: u64) {
    let leader = cluster.elect();
    // Leases of permits that nobody knows of run out first.
    let mut open: BTreeSet<_> = (0..SLOTS + 20)
        .map(|number| cluster.call(leader, waiting(&format!("last-{number}"), 200_000)))
        .collect();
    cluster.run(1_000);
    let held = holders(&cluster.ask(usage())).len();
    assert_eq!(held, SLOTS as usize, "seed {seed}: slots are free while others wait");
    let began_ms = cluster.now_ms;
    while !open.is_empty() {
        assert!(cluster.now_ms - began_ms < 100_000, "seed {seed}: {} wait for ever", open.len());
        cluster.run(10);
        let answered: Vec<_> =
            open.iter().copied().filter(|number| cluster.reply(*number).is_some()).collect();
        for number in answered {
            open.remove(&number);
            let Some(Ok(reply)) = cluster.reply(number) else { panic!("seed {seed}: a calm cluster fails") };
            let permit = granted(reply).permit;
            cluster.call(leader, release(permit));
        }
    }
}

#[test]
fn whatever_happens() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let (first, seeds) = (number("TOLLGATE_SEED").unwrap_or(1), number("TOLLGATE_SEEDS").unwrap_or(30));
    for seed in first..first + seeds {
        let outcome = survives_chaos(seed);
        if seed.is_multiple_of(20) {
            assert_eq!(survives_chaos(seed), outcome, "seed {seed} does not replay");
        }
    }
}
