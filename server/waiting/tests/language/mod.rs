//! The language of the scripts: what happens on a leader, and who goes. Time stands still but for `advance`; after every
//! command the queue takes its turns, those who may go are granted, and the output tells of them in order.
//!
//! | command                                        | what it does                                               |
//! |------------------------------------------------|------------------------------------------------------------|
//! | `create RESOURCE "LIMIT"… [settings]`          | adds a resource; `max_waiters=`, `per_consumer=`, `ageing=` |
//! | `update`, `delete`, `pause`, `resume`, `key`   | as in the limiter's scripts                                |
//! | `ask NAME RESOURCE [for=SPAN] [waited=SPAN]…`  | asks for a permit and waits up to `for`; `priority=high…`  |
//! | `ask NAME RESOURCE times=20 …`                 | twenty of them: NAME1, NAME2, …                            |
//! | `release NAME… [outcome=…] [cost=…]`           | ends the permit that NAME was granted; `result=…` for those with its `coalesce=` key |
//! | `invalidate RESOURCE key=…|prefix=…`           | drops results                                              |
//! | `give_back PERMIT`                             | nobody was left to receive it                              |
//! | `cancel NAME…`                                 | gives up waiting                                           |
//! | `advance SPAN`                                 | time goes by, from one moment at which something happens to the next |
//! | `jump SPAN`, `jump SPAN wall`                  | cluster and wall time, or wall time alone, get ahead of the leader's clock |
//! | `propose RESOURCE`, `applied RESOURCE`         | something for it is on its way through the log; it is there |
//! | `who RESOURCE`                                 | who waits                                                  |

#[path = "../../../limiter/tests/language/parse.rs"]
mod parse;
mod show;

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    sync::Arc,
};

use goldenscript::{ArgumentConsumer, Command, Context, Runner};
use tollgate_limiter::{
    Acquire, Called, Command as Change, DeleteResource, Limiter, Outcome, PermitId, Priority, Release,
    Resource, ResourceName, ResumeResource, SetKeyState, Span, UpdateResource,
};
use tollgate_waiting::{Moment, Turn, Waiter, WaiterId, WaitingQueue};

use self::parse::{label, option, required, resource_name, span, take};

/// Turns that are taken at once.
const MOST: usize = 100;

/// A leader's limiter and queue, and the clock of the script.
#[derive(Default)]
pub struct Script {
    limiter: Limiter,
    queue: WaitingQueue<String>,
    now: Moment,
    waiting: BTreeMap<String, WaiterId>,
    granted: BTreeMap<String, PermitId>,
    on_their_way: BTreeSet<ResourceName>,
}

type Output = Result<String, Box<dyn Error>>;

impl Runner for Script {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Output {
        let mut args = command.consume_args();
        let mut lines = Vec::new();
        match command.name.as_str() {
            "create" => {
                let resource = resource(&mut args)?;
                self.change(Change::from(resource.clone()), &resource.name, &mut lines)?;
            }
            "update" => {
                let resource = resource(&mut args)?;
                let read = self.limiter.resource(self.now.stamp, &resource.name);
                let generation = read.map_or(0, |stored| stored.generation);
                let name = resource.name.clone();
                self.change(Change::from(UpdateResource { resource, generation }), &name, &mut lines)?;
            }
            "delete" => {
                let name = resource_name(&mut args)?;
                let delete = DeleteResource { name: name.clone(), generation: 0 };
                self.change(Change::DeleteResource(delete), &name, &mut lines)?;
            }
            "pause" => {
                let order = parse::pause(&mut args)?;
                let name = order.resource.clone();
                self.change(Change::PauseResource(order), &name, &mut lines)?;
            }
            // The replica knows the resource of what is told of a resource, not of a permit's call.
            "hold_back" => {
                let report = parse::hold_back(&mut args)?;
                let resource = match &report.called {
                    Called::Of { resource, .. } => Some(resource.clone()),
                    Called::With(_) => None,
                };
                self.apply(Change::HoldBack(report))?.map_err(|rejection| rejection.to_string())?;
                resource.iter().for_each(|resource| self.queue.touched(resource));
            }
            "resume" => {
                let resource = resource_name(&mut args)?;
                let key = option(&mut args, "key", label)?.unwrap_or_default();
                let order = ResumeResource { resource: resource.clone(), key, all_keys: true };
                self.change(Change::ResumeResource(order), &resource, &mut lines)?;
            }
            "key" => {
                let resource = resource_name(&mut args)?;
                let key = label(required(args.next_pos(), "a key")?)?;
                let state = parse::key_state(required(args.next_pos(), "a state")?)?;
                let order = SetKeyState { resource: resource.clone(), key, state };
                self.change(Change::SetKeyState(order), &resource, &mut lines)?;
            }
            "invalidate" => {
                let order = parse::invalidation(&mut args)?;
                self.apply(Change::InvalidateResults(order))?.map_err(|rejection| rejection.to_string())?;
            }
            "report" => {
                let report = parse::feedback::report(&mut args)?;
                self.apply(Change::from(report))?.map_err(|rejection| rejection.to_string())?;
            }
            "ask" => self.ask(&mut args, &mut lines)?,
            "release" => self.release(&mut args)?,
            "give_back" => {
                let permit = parse::permit(&mut args)?;
                self.apply(Change::GiveBack(permit))?.map_err(|rejection| rejection.to_string())?;
            }
            "cancel" => {
                for name in names(&mut args)? {
                    let id = self.waiting.remove(&name).ok_or_else(|| format!("{name} does not wait"))?;
                    self.queue.leave(id).ok_or_else(|| format!("{name} has left"))?;
                }
            }
            "advance" => {
                let span = span(required(args.next_pos(), "a span")?)?;
                self.advance(span, &mut lines)?;
            }
            "jump" => {
                let span = span(required(args.next_pos(), "a span")?)?;
                self.jump(span, args.next_pos().is_some_and(|scale| scale == "wall"));
                args.reject_next()?;
                // Nothing but the time tells the leader to look.
                if self.queue.next_wake().is_none_or(|wake| wake > self.now.monotonic) {
                    return Ok(String::new());
                }
            }
            "propose" => drop(self.on_their_way.insert(resource_name(&mut args)?)),
            "applied" => drop(self.on_their_way.remove(&resource_name(&mut args)?)),
            "who" => lines.push(show::waiting(&self.queue.figures(&resource_name(&mut args)?, self.now))),
            name => return Err(format!("unknown command {name}").into()),
        }
        args.reject_next()?;
        self.take_turns(&mut lines)?;
        Ok(lines.join("\n"))
    }
}

impl Script {
    fn apply(&mut self, change: Change) -> Result<tollgate_limiter::Answer, Box<dyn Error>> {
        let freed = self.limiter.freed_by(&change);
        let mut answers = Vec::new();
        self.limiter.apply(self.now.stamp, &[change], &mut answers);
        freed.into_iter().for_each(|freed| self.queue.freed(&freed));
        answers.pop().ok_or_else(|| "no answer".into())
    }

    /// Only what went wrong is told.
    fn change(
        &mut self,
        change: Change,
        name: &ResourceName,
        lines: &mut Vec<String>,
    ) -> Result<(), Box<dyn Error>> {
        if let Err(rejection) = self.apply(change)? {
            lines.push(format!("rejected: {rejection}"));
        }
        self.queue.touched(name);
        Ok(())
    }

    fn ask(&mut self, args: &mut ArgumentConsumer, lines: &mut Vec<String>) -> Result<(), Box<dyn Error>> {
        let name = required(args.next_pos(), "a name")?;
        let patience = option(args, "for", span)?.unwrap_or(Span::from_secs(3600));
        let waited_for = option(args, "waited", span)?.unwrap_or_default();
        let times: Option<u32> = take(args, "times")?;
        let priority = option(args, "priority", priority)?.unwrap_or_default();
        let acquire = Acquire { priority, ..parse::acquire(args)? };
        let names = match times {
            Some(times) => (1..=times).map(|number| format!("{name}{number}")).collect(),
            None => vec![name.to_string()],
        };
        for caller in names {
            let acquire = Arc::new(acquire.clone());
            self.ask_once(Waiter { acquire, waited_for, patience, caller }, lines)?;
        }
        Ok(())
    }

    /// What a leader does: where nobody waits, the limiter is asked at once.
    fn ask_once(&mut self, waiter: Waiter<String>, lines: &mut Vec<String>) -> Result<(), Box<dyn Error>> {
        let (acquire, name) = (waiter.acquire.clone(), waiter.caller.clone());
        let mut choices = acquire.choices().filter_map(|alternative| acquire.choice(alternative));
        let others_wait = choices.any(|choice| self.queue.has_waiters(&choice.resource));
        if !others_wait && self.limiter.refusal(self.now.stamp, &acquire).is_none() {
            let answer = self.apply(Change::Acquire(acquire))?;
            self.note(&name, &answer);
            lines.push(format!("{name} {}, at once", show::answer(&answer)));
            return Ok(());
        }
        match self.queue.enter(waiter, &self.limiter, self.now) {
            Ok(id) => drop(self.waiting.insert(name, id)),
            Err(full) => lines.push(format!("{name} turned away: {}", show::bound(&full.bound))),
        }
        Ok(())
    }

    fn release(&mut self, args: &mut ArgumentConsumer) -> Result<(), Box<dyn Error>> {
        let outcome = option(args, "outcome", parse::outcome)?.unwrap_or_default();
        let cost = take(args, "cost")?;
        let amounts = option(args, "amounts", parse::amounts)?.unwrap_or_default();
        let answer = parse::feedback::answer_with(outcome, args)?;
        let result = parse::result(args)?;
        for name in names(args)? {
            let permit = self.granted.remove(&name).ok_or_else(|| format!("{name} has no permit"))?;
            let (amounts, answer, result) = (amounts.clone(), answer.clone(), result.clone());
            let release = Release { permit, outcome, cost, amounts, answer, result };
            self.apply(Change::Release(release))?.map_err(|rejection| rejection.to_string())?;
        }
        Ok(())
    }

    /// Stops wherever the queue wants to be woken, and nowhere else: who is told later than possible is told too late.
    fn advance(&mut self, span: Span, lines: &mut Vec<String>) -> Result<(), Box<dyn Error>> {
        let end = self.now.monotonic + span;
        while let Some(wake) = self.queue.next_wake().filter(|wake| *wake < end) {
            self.pass_time(wake);
            self.take_turns(lines)?;
        }
        self.pass_time(end);
        Ok(())
    }

    fn pass_time(&mut self, until: Span) {
        let passed = Span(until.0.saturating_sub(self.now.monotonic.0));
        self.now = Moment { monotonic: self.now.monotonic + passed, stamp: self.now.stamp.after(passed) };
        self.limiter.apply(self.now.stamp, &[], &mut Vec::new());
    }

    fn jump(&mut self, span: Span, only_wall: bool) {
        let cluster = self.now.stamp.cluster;
        self.now.stamp = self.now.stamp.after(span);
        if only_wall {
            self.now.stamp.cluster = cluster;
        }
        self.limiter.apply(self.now.stamp, &[], &mut Vec::new());
        self.queue.tell_time(self.now);
    }

    fn take_turns(&mut self, lines: &mut Vec<String>) -> Result<(), Box<dyn Error>> {
        let Script { limiter, queue, now, on_their_way, .. } = self;
        let turns = queue.take_turns(limiter, *now, &|resource| !on_their_way.contains(resource), MOST);
        let is_more = turns.len() >= MOST;
        for turn in turns {
            let (name, answer, waited) = match turn {
                Turn::Go { waiter, alternative, waited } => {
                    let acquire = waiter.acquire;
                    let answer = self.apply(Change::AcquireFrom { acquire, alternative })?;
                    if !matches!(answer, Ok(Outcome::Granted(_) | Outcome::Shared(_))) {
                        return Err(format!("{} went and was not granted: {answer:?}", waiter.caller).into());
                    }
                    (waiter.caller, answer, waited)
                }
                Turn::Done { waiter, answer, waited } => (waiter.caller, answer, waited),
            };
            self.waiting.remove(&name);
            self.note(&name, &answer);
            lines.push(format!("{name} {}, after {waited}", show::answer(&answer)));
        }
        if is_more { self.take_turns(lines) } else { Ok(()) }
    }

    fn note(&mut self, name: &str, answer: &tollgate_limiter::Answer) {
        if let Ok(Outcome::Granted(grant)) = answer {
            self.granted.insert(name.to_string(), grant.permit);
        }
    }
}

fn names(args: &mut ArgumentConsumer) -> Result<Vec<String>, Box<dyn Error>> {
    let names: Vec<_> = std::iter::from_fn(|| args.next_pos()).map(String::from).collect();
    if names.is_empty() { Err("a name is missing".into()) } else { Ok(names) }
}

fn priority(text: &str) -> Result<Priority, Box<dyn Error>> {
    Ok(match text {
        "high" => Priority::High,
        "medium" => Priority::Medium,
        "low" => Priority::Low,
        _ => return Err(format!("unknown priority {text}").into()),
    })
}

fn resource(args: &mut ArgumentConsumer) -> Result<Resource, Box<dyn Error>> {
    let max_waiters = take(args, "max_waiters")?;
    let per_consumer = take(args, "per_consumer")?;
    let ageing = option(args, "ageing", span)?;
    let mut resource = parse::resource(args)?;
    let queueing = &mut resource.queueing;
    queueing.max_waiters = max_waiters.unwrap_or(queueing.max_waiters);
    queueing.max_waiters_per_consumer = per_consumer.unwrap_or(queueing.max_waiters_per_consumer);
    queueing.ageing = ageing.unwrap_or(queueing.ageing);
    Ok(resource)
}
