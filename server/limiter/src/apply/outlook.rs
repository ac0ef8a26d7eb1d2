//! What lies before a request that waits: what holds it up, what it would take, and whom a release lets go.
//!
//! Nothing here changes the state. The waiting queue of the leader (crate `tollgate-waiting`) asks it whom to propose next;
//! what is decided is decided at apply, of the same counters and by the same evaluation.
//!
//! A request that pins no key may go with any, so what holds it is not one key's counter: for limits that count by key
//! it stands in a line of its own, whose scope value is empty.

use smallvec::SmallVec;

use super::{
    Limiter,
    acquire::{Decision, Plan, choose_key, is_sooner},
    budget::{Standing, budget_of},
    operations,
    request::Demand,
};
use crate::{
    model::{
        Acquire, Answer, Budget, BudgetCause, BudgetName, CallOutcome, CoalesceKey, Command, Denial,
        DenialReason, ExhaustedLimit, Label, LimitName, PermitId, Queueing, Rejection, Report, Resource,
        ResourceName, Scope, Span, Stamp, VendorAnswer,
    },
    state::{Gate, ResourceState, Resources, Shared},
};

/// What waiters of one resource stand in line for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Line {
    /// The end of a pause, a key that comes back into use, or the opening hours of a budget. Nothing is taken from it, so
    /// those who stand here hold nobody else up.
    Gate {
        /// The key that the request pins; empty when any would do.
        key: Label,
        /// Whose hours.
        budget: Option<BudgetName>,
    },
    /// Room in a counter, or in a budget's share of it.
    Limit {
        /// Of which limit.
        limit: LimitName,
        /// Of which scope value; empty for the whole resource, and for limits by key when any key would do.
        scope_value: Label,
        /// Whose share; absent: the limit itself.
        budget: Option<BudgetName>,
    },
    /// The end of a call that another makes. Nothing is taken from it either.
    Call {
        /// What the call is known by.
        key: CoalesceKey,
    },
    /// The few permits that are granted while the vendor is not well: probes of a circuit, or those of a pace.
    Ration {
        /// The key that the request pins; empty: the resource as a whole, and when any key would do.
        key: Label,
    },
}

/// A line that a request passes when it goes, and what it takes there in the limit's own unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// Which.
    pub line: Line,
    /// At least 1.
    pub amount: u64,
    /// How long until the reserve of the consumer's budget covers the request, so that it passes this line no longer. Absent
    /// where that never is; only of lines of limits themselves.
    pub covered_in: Option<Span>,
}

/// What holds a denied request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// Where it stands.
    pub line: Line,
    /// When it frees, if nobody else acquires, releases or orders anything: exact. Absent where only an order frees it.
    pub frees_in: Option<Span>,
}

/// What a request draws on whenever it is put to the same definition: the key that it pins, the counters of the limits
/// that apply, and the call that it makes or has others make. Requests of one signature are held by the same things.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signature {
    key: Label,
    /// By position of the limit; the value is empty for the whole resource, and by key when any would do.
    counters: Box<[(u16, Label)]>,
    coalesce_key: Option<CoalesceKey>,
}

impl Signature {
    /// Whether one of the resource's keys is asked for.
    pub fn pins_key(&self) -> bool {
        !self.key.is_empty()
    }

    /// What its call is known by, if others may make it.
    pub fn coalesce_key(&self) -> Option<&CoalesceKey> {
        self.coalesce_key.as_ref()
    }
}

/// What the end of a permit frees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freed {
    /// Of which resource.
    pub resource: ResourceName,
    /// The lines that may move now, those of all budgets like the one without that is named here.
    pub lines: Vec<Line>,
}

impl Limiter {
    /// What a request that is put to one of its resources (0: its own, then its alternatives) comes to if it is decided at
    /// `stamp`: the lines that it passes when it is granted, or the denial. Replays pass no line, and neither does whoever
    /// needs no permit because another has made the call.
    ///
    /// # Errors
    ///
    /// As the request would be rejected.
    pub fn prospect(
        &self,
        stamp: Stamp,
        acquire: &Acquire,
        alternative: u32,
    ) -> Result<Result<Vec<Passage>, Denial>, Rejection> {
        let passages = |plan: &Plan| {
            let choice = acquire.choice(alternative);
            let state = choice.as_ref().and_then(|choice| self.resources.get(&choice.resource));
            state.map_or_else(Vec::new, |state| {
                let now = self.now.max(stamp);
                let cost = operations::cost(&state.definition, choice.as_deref().unwrap_or(acquire));
                let rations = rations(state, &plan.key, cost, now);
                rations.chain(passages(state, &acquire.consumer, &plan.demands, now)).collect()
            })
        };
        let mut plan = Plan::default();
        Ok(match self.decide(acquire, alternative..=alternative, self.now.max(stamp), &mut plan)? {
            Decision::Deny(denial) => Err(denial),
            Decision::Replay(_) | Decision::Share(_) => Ok(Vec::new()),
            Decision::Grant => Ok(passages(&plan)),
        })
    }

    /// Where a request stands that this limiter has denied at `stamp`.
    pub fn obstacle(&self, stamp: Stamp, denial: &Denial, acquire: &Acquire) -> Obstacle {
        let choice = acquire.choice(denial.alternative);
        let acquire = choice.as_deref().unwrap_or(acquire);
        let obstacle = self.obstacle_of(denial, acquire);
        let is_shut = matches!(&obstacle.line, Line::Gate { budget: None, .. } | Line::Ration { .. });
        match self.resources.get(&acquire.resource).filter(|_| is_shut && acquire.key.is_empty()) {
            Some(state) => self.before_any_key(state, acquire, self.now.max(stamp), obstacle),
            None => obstacle,
        }
    }

    /// Where keys are shut those wait together who would take any, whatever else holds them. So who finds one open stands where
    /// that has no room, even if it can have another sooner; and if there is none, it is looked at when the first opens.
    fn before_any_key(
        &self,
        state: &ResourceState,
        acquire: &Acquire,
        now: Stamp,
        obstacle: Obstacle,
    ) -> Obstacle {
        let Obstacle { mut line, mut frees_in } = obstacle;
        let mut soonest: Option<Denial> = None;
        for key in &state.definition.keys {
            if let Gate::Shut { opens_in, .. } = state.gate(key, now.cluster) {
                frees_in = frees_in.into_iter().chain(opens_in).min();
                continue;
            }
            let pinned = Acquire { key: key.clone(), ..acquire.clone() };
            if let Err(denial) = choose_key(state, &pinned, now, &mut Plan::default())
                && soonest.as_ref().is_none_or(|soonest| is_sooner(&denial, soonest))
            {
                line = self.obstacle_of(&denial, acquire).line;
                soonest = Some(denial);
            }
        }
        Obstacle { line, frees_in }
    }

    fn obstacle_of(&self, denial: &Denial, acquire: &Acquire) -> Obstacle {
        if denial.reason == DenialReason::CallUnderWay
            && let Some(key) = acquire.coalesce_key.clone()
        {
            return Obstacle { line: Line::Call { key }, frees_in: denial.retry_after };
        }
        let key = acquire.key.clone();
        let binding = denial.limit.as_ref().and_then(|limit| {
            let exhausted = denial.exhausted.iter().filter(|exhausted| exhausted.limit == *limit);
            exhausted.max_by_key(|exhausted| exhausted.retry_after)
        });
        let ration = |of: &Label, pinned, wait| {
            let key = if of.is_empty() { Label::default() } else { pinned };
            Obstacle { line: Line::Ration { key }, frees_in: Some(wait) }
        };
        match (&denial.reason, binding) {
            (DenialReason::Paused { pause, .. }, _) => {
                Obstacle { line: Line::Gate { key, budget: None }, frees_in: pause.left }
            }
            (DenialReason::CircuitOpen { key: of, circuit }, _) => ration(of, key, circuit.left),
            (DenialReason::Paced { key: of, pace }, None) => ration(of, key, pace.next_in),
            (DenialReason::BudgetExhausted { budget }, Some(exhausted)) => match exhausted.budget {
                Some(BudgetCause::Schedule) => Obstacle {
                    line: Line::Gate { key, budget: budget.clone() },
                    frees_in: denial.retry_after,
                },
                Some(BudgetCause::Ceiling) => self.before(acquire, exhausted, budget.clone()),
                Some(BudgetCause::Reserve) | None => self.before_share(acquire, exhausted),
            },
            (_, Some(exhausted)) => self.before_share(acquire, exhausted),
            (_, None) => Obstacle { line: Line::Gate { key, budget: None }, frees_in: denial.retry_after },
        }
    }

    /// What decides which requests of a consumer queue up behind one another. Of a resource that is not there, nothing.
    pub fn signature(&self, acquire: &Acquire, alternative: u32) -> Signature {
        let Some(acquire) = acquire.choice(alternative) else { return Signature::default() };
        let Some(resource) = self.definition(&acquire.resource) else { return Signature::default() };
        let cost = operations::cost(resource, &acquire);
        let counters = (0..).zip(&resource.limits).filter_map(|(position, limit)| {
            let value = match limit.scope {
                Scope::Resource => Label::default(),
                Scope::Key => acquire.key.clone(),
                Scope::Consumer => acquire.consumer.clone(),
                Scope::Subject => acquire.subject.clone(),
            };
            let counts = limit.weight(cost, &acquire.amounts) > 0;
            let applies = operations::applies(&limit.operations, &acquire.operation);
            (counts && applies && !limit.shadow).then_some((position, value))
        });
        let coalesce_key = acquire.coalesce_key.clone();
        Signature { key: acquire.key.clone(), counters: counters.collect(), coalesce_key }
    }

    /// What the command, which is about to be applied, is going to free. Requests that any key would do stand where the key
    /// is held that they could have had first, and may go with another now: of a resource with keys, theirs are among the
    /// lines whatever is freed.
    pub fn freed_by(&self, command: &Command) -> Option<Freed> {
        let (permit, is_settled, is_slowed) = match command {
            Command::GiveBack(permit) => (*permit, true, false),
            Command::Release(release) => {
                let is_slowed = is_slowed(release.outcome, release.answer.as_deref());
                let differs = release.cost.is_some() || !release.amounts.is_empty();
                (release.permit, differs || release.outcome == CallOutcome::NotSent, is_slowed)
            }
            Command::Report(report) => return self.freed_by_report(report),
            _ => return None,
        };
        self.freed_with(permit, is_settled, is_slowed)
    }

    /// The state of one resource alone, to try out on it what to propose: nothing else of the state is in it, and no permit
    /// or request id from before. Cheap: counters are copied when they are changed.
    pub fn rehearse(&self, name: &ResourceName) -> Option<Limiter> {
        let state = self.resources.get(name)?;
        let mut resources = Resources::default();
        resources.insert(Shared::new(state.without_permits()));
        let (now, permits_granted) = (self.now, self.permits_granted);
        let counter_bytes = self.counter_bytes;
        Some(Limiter { now, permits_granted, resources, counter_bytes, ..Limiter::default() })
    }

    /// Whether a permit was granted under the request's id: the request is answered by that, and takes nothing. A rehearsal does not
    /// know.
    pub fn is_repeated(&self, stamp: Stamp, acquire: &Acquire) -> bool {
        let now = self.now.max(stamp).cluster;
        acquire.request_id.as_ref().is_some_and(|id| self.request_ids.get(id, now).is_some())
    }

    /// Decides a request on a rehearsal, as [`apply`](Self::apply) would at `stamp`.
    pub fn rehearse_acquire(&mut self, stamp: Stamp, acquire: &Acquire, alternative: u32) -> Answer {
        self.now = self.now.max(stamp);
        self.acquire(acquire, alternative..=alternative)
    }

    /// See [`Limiter::refuse`].
    pub fn refusal(&self, stamp: Stamp, acquire: &Acquire) -> Option<Answer> {
        self.refuse_acquire(acquire, acquire.choices(), self.now.max(stamp))
    }

    /// How requests wait for the resource, and the generation of the definition that says so.
    pub fn queueing(&self, name: &ResourceName) -> Option<(Queueing, u64)> {
        let state = self.resources.get(name)?;
        Some((state.definition.queueing, state.generation))
    }

    /// The consumer's weight among those that wait: 1 to 1,000.
    pub fn weight(&self, name: &ResourceName, consumer: &Label) -> u32 {
        self.budget(name, consumer).map_or(1, |budget| budget.weight)
    }

    /// The budget of the resource that the consumer belongs to.
    pub fn budget(&self, name: &ResourceName, consumer: &Label) -> Option<&Budget> {
        self.definition(name).and_then(|resource| budget_of(resource, consumer))
    }

    fn definition(&self, name: &ResourceName) -> Option<&Resource> {
        self.resources.get(name).map(|state| &*state.definition)
    }

    /// Who has a reserve stands in a line of its own: among the others, those who wait for what is left beside the reserves
    /// would keep it from what is its own.
    fn before_share(&self, acquire: &Acquire, exhausted: &ExhaustedLimit) -> Obstacle {
        let resource = self.definition(&acquire.resource);
        let budget = resource.and_then(|resource| budget_of(resource, &acquire.consumer));
        let reserved = budget.filter(|budget| {
            let mut shares = budget.shares.iter();
            shares.any(|share| share.limit == exhausted.limit && share.reserve_percent > 0)
        });
        self.before(acquire, exhausted, reserved.map(|budget| budget.name.clone()))
    }

    fn before(&self, acquire: &Acquire, exhausted: &ExhaustedLimit, budget: Option<BudgetName>) -> Obstacle {
        let resource = self.definition(&acquire.resource);
        let is_by_key = resource.is_some_and(|resource| {
            resource.limits.iter().any(|limit| limit.name == exhausted.limit && limit.scope == Scope::Key)
        });
        let any_key = is_by_key && acquire.key.is_empty();
        let scope_value = if any_key { Label::default() } else { exhausted.scope_value.clone() };
        let line = Line::Limit { limit: exhausted.limit.clone(), scope_value, budget };
        Obstacle { line, frees_in: Some(exhausted.retry_after) }
    }

    fn freed_with(&self, permit: PermitId, is_settled: bool, is_slowed: bool) -> Option<Freed> {
        let permit = self.permits.get(permit)?;
        let state = self.resources.get(&permit.resource)?;
        let holds = permit.holds.iter().map(|hold| (hold.limit, &hold.scope_value));
        let debits = permit.debits.iter().filter(|_| is_settled);
        let debits = debits.map(|debited| (debited.limit, &debited.scope_value));
        let line = |limit: &LimitName, scope_value: Label| {
            let limit = limit.clone();
            Line::Limit { limit, scope_value, budget: None }
        };
        let limits = &state.definition.limits;
        let mut lines: Vec<_> = holds
            .chain(debits)
            .filter_map(|(id, value)| Some(line(&limits[state.position(id)?].name, value.clone())))
            .collect();
        lines.extend(state.rationed(&permit.key, is_slowed));
        if !lines.is_empty() {
            lines.extend(state.any_key());
        }
        lines.extend(permit.coalesce_key.clone().map(|key| Line::Call { key }));
        Some(Freed { resource: permit.resource.clone(), lines })
    }

    /// A probe may have given up its place, or closed the circuit; and a pace that is lowered is another one.
    fn freed_by_report(&self, report: &Report) -> Option<Freed> {
        let state = self.resources.get(&report.resource)?;
        let permit = report.permit.and_then(|id| self.permits.get(id));
        let key = permit.map_or(&report.key, |permit| &permit.key);
        let mut lines: Vec<_> =
            state.rationed(key, is_slowed(report.outcome, Some(&report.answer))).collect();
        if !lines.is_empty() {
            lines.extend(state.any_key());
        }
        Some(Freed { resource: report.resource.clone(), lines })
    }
}

impl ResourceState {
    /// Where those stand who wait for places of probes with the key, or for what comes of those that are out; and where the pace
    /// changes (`is_slowed`), those who wait for that.
    fn rationed(&self, key: &Label, is_slowed: bool) -> impl Iterator<Item = Line> + use<> {
        let moves = self.conditions.awaits_probes(key) || is_slowed && self.conditions.is_paced(key);
        let whole = moves.then(Label::default);
        let own = whole.is_some().then(|| key.clone()).filter(|key| !key.is_empty());
        whole.into_iter().chain(own).map(|key| Line::Ration { key })
    }

    /// Where those stand who would take any key.
    fn any_key(&self) -> Vec<Line> {
        if self.definition.keys.is_empty() {
            return Vec::new();
        }
        let any = Label::default;
        let by_key = self.definition.limits.iter().filter(|limit| limit.scope == Scope::Key);
        let limits =
            by_key.map(|limit| Line::Limit { limit: limit.name.clone(), scope_value: any(), budget: None });
        limits.chain([Line::Gate { key: any(), budget: None }, Line::Ration { key: any() }]).collect()
    }
}

/// Whether what is told of a call may change a pace that is in force.
fn is_slowed(outcome: CallOutcome, answer: Option<&VendorAnswer>) -> bool {
    outcome == CallOutcome::Throttled || answer.is_some_and(|answer| answer.wait.is_some())
}

/// The lines of rationed permits that one of this key passes: that of the resource, in which those stand too who take any
/// key, and that of the key.
fn rations(state: &ResourceState, key: &Label, amount: u64, now: Stamp) -> impl Iterator<Item = Passage> {
    let mut keys = SmallVec::<[Label; 2]>::new();
    for of in state.conditions.rationed(&state.definition, key, now.cluster) {
        keys.extend([Label::default(), of.clone()].into_iter().take(if of.is_empty() { 1 } else { 2 }));
    }
    keys.dedup();
    keys.into_iter().map(move |key| Passage { line: Line::Ration { key }, amount, covered_in: None })
}

/// The lines of all enforced limits that are debited: that of the budget's share, and that of the limit itself unless the
/// budget's own reserve covers the amount. Where a limit counts by key, both those who want this key and those who take any
/// stand before it.
fn passages(state: &ResourceState, consumer: &Label, demands: &[Demand], now: Stamp) -> Vec<Passage> {
    let standing = Standing::of(&state.definition, consumer);
    let mut passages = Vec::with_capacity(demands.len());
    for demand in demands {
        let limit = &state.definition.limits[demand.limit];
        if limit.shadow {
            continue;
        }
        let (budget, covered_in) =
            standing.map_or((None, None), |standing| standing.passes_by(state, demand, now));
        let mut pass = |scope_value: &Label, budget: Option<BudgetName>| {
            let covered_in = covered_in.filter(|_| budget.is_none());
            let line = Line::Limit { limit: limit.name.clone(), scope_value: scope_value.clone(), budget };
            passages.push(Passage { line, amount: demand.amount, covered_in });
        };
        let any_key = (limit.scope == Scope::Key).then(Label::default);
        for scope_value in std::iter::once(&demand.scope_value).chain(&any_key) {
            if budget.is_some() {
                pass(scope_value, budget.cloned());
            }
            if covered_in != Some(Span::ZERO) {
                pass(scope_value, None);
            }
        }
    }
    passages
}
