//! One call for many that want the same: who makes it, who has its result, and what becomes of both when leaders change.

use tollgate_limiter::*;
use tollgate_server::raft::{
    call::{Call, Refusal, Reply},
    members::NodeId,
};

use crate::{
    cluster::{CallNumber, Cluster},
    with_seeds,
    words::*,
};

const MINUTE_MS: u64 = 60_000;

/// From an event to the answers that it makes possible: one round through the log, and no tick.
const PROMPT_MS: u64 = 40;

const FOUND: &[u8] = b"Jane";

fn key() -> CoalesceKey {
    CoalesceKey::new("contact/42").unwrap()
}

fn coalesced(call: Call) -> Call {
    with(call, |acquire| acquire.coalesce_key = Some(key()))
}

fn found(permit: PermitId) -> Call {
    let result = CallResult { bytes: ResultBytes::new(FOUND).unwrap(), ttl: CallResult::TTL_MIN };
    let (outcome, amounts) = (CallOutcome::Ok, Default::default());
    command(Command::Release(Release {
        permit,
        outcome,
        cost: None,
        amounts,
        answer: None,
        result: Some(result),
    }))
}

fn invalidate() -> Call {
    let keys = CoalesceKeys::One(key());
    command(Command::InvalidateResults(InvalidateResults { resource: resource(), keys }))
}

fn has_result(reply: &Reply) -> bool {
    matches!(reply.answer(), Some(Ok(Outcome::Shared(shared))) if shared.bytes.as_slice() == FOUND)
}

/// A leader of a cluster whose resource has plenty.
fn plenty(cluster: &mut Cluster) -> NodeId {
    let bucket = TokenBucket { capacity: 1_000, refill_amount: 1, refill_period: Span::from_secs(3_600) };
    let resource = with_limit("tokens", LimitKind::TokenBucket(bucket));
    cluster.ask(command(Command::from(resource)));
    cluster.elect()
}

fn answers(cluster: &Cluster, calls: &[CallNumber]) -> Vec<Reply> {
    let replies = calls.iter().filter_map(|call| cluster.reply(*call));
    replies.map(|reply| reply.clone().unwrap()).collect()
}

#[test]
fn all_who_wait_have_the_result_at_once_and_spend_nothing() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        let leader = plenty(&mut cluster);
        // Of those that come together, one has the permit: the state has room for each when they are proposed.
        let calls: Vec<_> =
            (0..600).map(|_| cluster.call(leader, coalesced(waiting("", MINUTE_MS)))).collect();
        let hurried = cluster.call(leader, coalesced(acquire("")));
        cluster.run(500);
        let [reply] = &answers(&cluster, &calls)[..] else { panic!("seed {seed}: one is answered") };
        let permit = granted(reply).permit;
        assert!(matches!(
            cluster.reply(hurried).unwrap().as_ref().unwrap().answer(),
            Some(Ok(Outcome::Denied(denial)))
                if denial.reason == DenialReason::CallUnderWay
        ));
        cluster.call(leader, found(permit));
        cluster.run(3 * PROMPT_MS);
        let replies = answers(&cluster, &calls);
        assert_eq!(replies.iter().filter(|reply| has_result(reply)).count(), 599, "seed {seed}");
        let Reply::Usage(Some(usage)) = cluster.ask(usage()) else { panic!("no usage") };
        assert_eq!(usage.limits[0].counters[0].used, 1, "seed {seed}");
        cluster.converge();
    });
}

#[test]
fn a_call_that_fails_is_the_next_ones_to_make() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        let leader = plenty(&mut cluster);
        let mut holder = granted(&cluster.ask(coalesced(acquire("")))).permit;
        let calls: Vec<_> = (0..4)
            .map(|_| {
                cluster.run(10);
                cluster.call(leader, coalesced(waiting("", MINUTE_MS)))
            })
            .collect();
        for answered in 1..=calls.len() {
            cluster.call(leader, release(holder));
            cluster.run(PROMPT_MS);
            let replies = answers(&cluster, &calls[..answered]);
            assert_eq!(replies.len(), answered, "seed {seed}: in order");
            assert_eq!(answers(&cluster, &calls).len(), answered, "seed {seed}: one at a time");
            holder = granted(&replies[answered - 1]).permit;
        }
    });
}

#[test]
fn a_holder_that_crashes_is_waited_out_for_its_lease_and_grace() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        let leader = plenty(&mut cluster);
        let lease = Span::from_secs(10);
        granted(&cluster.ask(with(coalesced(acquire("")), |acquire| acquire.lease = Some(lease))));
        let began_ms = cluster.now_ms;
        let call = cluster.call(leader, coalesced(waiting("", MINUTE_MS)));
        cluster.run_until("the grant", |cluster| cluster.reply(call).is_some());
        granted(&answers(&cluster, &[call])[0]);
        let after_ms = cluster.now_ms - began_ms;
        assert!((14_900..=15_000 + PROMPT_MS).contains(&after_ms), "seed {seed}: {after_ms}");
    });
}

#[test]
fn who_waits_has_what_was_found_before_and_after_the_leader_crashed() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        let old = plenty(&mut cluster);
        let holder = granted(&cluster.ask(coalesced(acquire("")))).permit;
        let waits = cluster.call(old, coalesced(waiting("a", MINUTE_MS)));
        cluster.run(100);
        // On even seeds it is found before the crash, and nobody was told.
        if seed % 2 == 0 {
            cluster.cancel(old, waits);
            cluster.ask(found(holder));
        }
        cluster.crash(old, 0);
        let new = cluster.elect();
        let again = cluster.call(new, coalesced(waiting_again("a", 2, MINUTE_MS, 1_000)));
        cluster.run(500);
        if seed % 2 == 1 {
            assert_eq!(cluster.reply(again), None, "seed {seed}: the call is still under way");
            cluster.ask(found(holder));
            cluster.run(PROMPT_MS);
        }
        assert!(has_result(&answers(&cluster, &[again])[0]), "seed {seed}");
        cluster.restart(old);
        cluster.run(1_000);
        cluster.converge();
    });
}

#[test]
fn nobody_has_a_result_that_was_invalidated_through_another_leader() {
    with_seeds(|seed| {
        let mut cluster = Cluster::found(seed, 3);
        let old = plenty(&mut cluster);
        let holder = granted(&cluster.ask(coalesced(acquire("")))).permit;
        cluster.ask(found(holder));
        assert!(has_result(&cluster.ask(coalesced(acquire("")))), "seed {seed}");
        cluster.isolate(old);
        // It believes to lead until it has heard from nobody for long enough.
        let asked = cluster.call(old, coalesced(acquire("")));
        cluster.run_until("another leader", |cluster| cluster.leader().is_some_and(|leader| leader != old));
        let reply = cluster.ask(invalidate());
        assert_eq!(reply.answer(), Some(&Ok(Outcome::Invalidated(1))), "seed {seed}");
        granted(&cluster.ask(coalesced(acquire(""))));
        cluster.run(2_000);
        assert_eq!(cluster.reply(asked), Some(&Err(Refusal::OutcomeUnknown)), "seed {seed}");
        cluster.heal();
        cluster.run(1_000);
        cluster.converge();
    });
}
