//! Queries: linearizable, without the log. A query is answered from the state once a quorum has confirmed, after it was
//! asked, that this node still leads, and everything that was committed by then is applied (ReadIndex: Ongaro's
//! dissertation, 6.4). Waiting queries share one round of confirmation.

use std::collections::VecDeque;

use raft::ReadState;
use tollgate_waiting::Moment;

use crate::clock::Reading;

use super::{
    super::call::{Query, Reply},
    Replica,
};

/// Rounds of confirmation under way; beyond it, queries gather for the next.
const ROUNDS_MAX: usize = 2;

/// Held slots that one answer shows, at most.
const HELD_SLOTS_MAX: usize = 10_000;

/// The queries of one term.
pub(super) struct Reads<C> {
    queued: Vec<(Query, C)>,
    rounds: VecDeque<Round<C>>,
    next_round: u64,
}

struct Round<C> {
    number: u64,
    /// What was committed when the round began; known once it is confirmed.
    index: Option<u64>,
    queries: Vec<(Query, C)>,
}

impl<C> Reads<C> {
    pub fn new(term: u64) -> Reads<C> {
        // No two terms use the same number: a late confirmation confirms nothing else.
        Reads { queued: Vec::new(), rounds: VecDeque::new(), next_round: term << 32 }
    }

    pub fn queue(&mut self, query: Query, caller: C) {
        self.queued.push((query, caller));
    }

    pub fn len(&self) -> usize {
        self.queued.len()
    }

    pub fn into_callers(self) -> impl Iterator<Item = C> {
        let asked = self.rounds.into_iter().flat_map(|round| round.queries);
        asked.chain(self.queued).map(|(_, caller)| caller)
    }

    fn begin_round(&mut self) -> Option<u64> {
        if self.queued.is_empty() || self.rounds.len() >= ROUNDS_MAX {
            return None;
        }
        let number = self.next_round;
        self.next_round += 1;
        self.rounds.push_back(Round { number, index: None, queries: std::mem::take(&mut self.queued) });
        Some(number)
    }

    /// A confirmed round confirms those before it, too.
    fn confirm(&mut self, number: u64, index: u64) {
        for round in self.rounds.iter_mut().take_while(|round| round.number <= number) {
            round.index.get_or_insert(index);
        }
    }

    fn take_answerable(&mut self, applied: u64) -> Option<Vec<(Query, C)>> {
        self.rounds.front().filter(|round| round.index.is_some_and(|index| index <= applied))?;
        self.rounds.pop_front().map(|round| round.queries)
    }
}

impl<C> Replica<C> {
    /// Begins a round of confirmation for what is queued.
    pub(super) fn read(&mut self) {
        let Some(leadership) = &mut self.leadership else { return };
        if let Some(number) = leadership.reads.begin_round() {
            self.node.read_index(number.to_be_bytes().to_vec());
        }
    }

    /// Raft has confirmed rounds.
    pub(super) fn confirm_reads(&mut self, states: Vec<ReadState>) {
        let Some(leadership) = &mut self.leadership else { return };
        for ReadState { index, request_ctx } in states {
            if let Ok(number) = request_ctx.try_into().map(u64::from_be_bytes) {
                leadership.reads.confirm(number, index);
            }
        }
    }

    /// Answers what is confirmed and applied.
    pub(super) fn answer_reads(&mut self, now: Reading) {
        let moment = Moment { monotonic: now.monotonic, stamp: self.stamp(now) };
        let applied = self.machine.index();
        while let Some(queries) = self.leadership.as_mut().and_then(|l| l.reads.take_answerable(applied)) {
            for (query, caller) in queries {
                self.answer_query(query, moment, caller);
            }
        }
    }

    fn answer_query(&mut self, query: Query, moment: Moment, caller: C) {
        let limiter = self.machine.limiter();
        let stamp = moment.stamp;
        let reply = match query {
            Query::Resource(name) => Reply::Resource(limiter.resource(stamp, &name).map(Box::new)),
            Query::Resources { after, prefix, max } => {
                let (page, more) = limiter.resources(stamp, after.as_ref(), &prefix, max as usize);
                Reply::Resources { page, more }
            }
            Query::Usage { name, scope_value, max_scope_values } => {
                let counters_max = max_scope_values as usize;
                let mut usage =
                    limiter.usage(stamp, &name, scope_value.as_ref(), counters_max, HELD_SLOTS_MAX);
                if let Some(usage) = &mut usage {
                    self.add_waiting(usage, moment);
                }
                Reply::Usage(usage.map(Box::new))
            }
            Query::Cluster | Query::ClusterHere => Reply::Cluster(Box::new(self.view())),
            Query::FeedbackRulesHere(called) => {
                let rules = limiter.feedback_rules(&called).cloned();
                Reply::FeedbackRules(Box::new(rules.unwrap_or_default()))
            }
            Query::Estimate(work) => return self.plan(work, moment, caller),
        };
        self.reply(caller, Ok(reply));
    }
}
