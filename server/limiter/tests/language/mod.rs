//! The language of the scripts: what it says to the limiter, and how it shows what the limiter answers.
//!
//! | command                                       | what it does                                              |
//! |-----------------------------------------------|-----------------------------------------------------------|
//! | `create RESOURCE "LIMIT"… [settings]`         | adds a resource; see `parse.rs` for limits and settings   |
//! | `update RESOURCE "LIMIT"… [settings]`         | replaces it, as it was read (or with `generation=`)       |
//! | `delete RESOURCE [generation=N]`              | removes it                                                |
//! | `acquire RESOURCE [operation=…] [cost=…]…`    | asks for a permit; `or="…"` names other resources, `coalesce=KEY` what its call is known by |
//! | `acquire_from N RESOURCE or="…"…`            | the same of one of its resources alone; 0: the request's own |
//! | `refuse RESOURCE …`                           | what the leader answers without the log                   |
//! | `renew p1 [lease=…]`                          | extends a lease                                           |
//! | `release p1 [outcome=…] [cost=…] [amounts=…]` | ends a permit                                             |
//! | `release p1 result=TEXT [ttl=SPAN]`           | ends the call for all that wait for it                    |
//! | `invalidate RESOURCE key=…|prefix=…`          | drops results                                             |
//! | `report RESOURCE [key=…] [permit=p1] [outcome=…] [wait=…] [exhausted=…] [told=…]` | what came of a call; so in `release` |
//! | `give_back p1`                                | ends a permit that nobody was left to receive             |
//! | `pause RESOURCE [key=…] [for=SPAN] [reason=…]` | grants nothing for a while, or until it is resumed       |
//! | `resume RESOURCE [key=…] [all_keys=false]`    | ends a pause, and what came of the vendor's answers; `false`: as in old logs, of the named alone |
//! | `key RESOURCE KEY active|draining|disabled`   | says what becomes of a key                                |
//! | `advance SPAN`                                | time goes by; an entry without commands follows           |
//! | `wall TIMESTAMP`                              | moves the wall clock there                                |
//! | `usage RESOURCE [value=…]`                    | live figures                                              |
//! | `restore`                                     | goes on from the encoded state                            |
//!
//! A line `turned:` after an answer tells of a circuit that opened or closed.

mod parse;
mod show;

use std::error::Error;

use goldenscript::{ArgumentConsumer, Command, Context, Runner};
use tollgate_limiter::{
    Answer, Command as Change, DeleteResource, Limiter, Release, Renew, ResumeResource, SetKeyState, Stamp,
    UpdateResource, WallTime,
};

use self::parse::{label, option, permit, required, resource_name, span, take};

/// A limiter and the clock of its script.
#[derive(Default)]
pub struct Script {
    limiter: Limiter,
    stamp: Stamp,
}

type Output = Result<String, Box<dyn Error>>;

impl Runner for Script {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Output {
        let mut args = command.consume_args();
        let output = match command.name.as_str() {
            "create" => {
                let resource = parse::resource(&mut args)?;
                self.apply(Change::from(resource))
            }
            "update" => self.update(&mut args),
            "delete" => {
                let name = resource_name(&mut args)?;
                let generation = take(&mut args, "generation")?.unwrap_or(0);
                self.apply(Change::DeleteResource(DeleteResource { name, generation }))
            }
            "acquire" => {
                let acquire = parse::acquire(&mut args)?;
                self.apply(Change::from(acquire))
            }
            "acquire_from" => {
                let alternative = required(args.next_pos(), "which of the resources")?.parse()?;
                let acquire = parse::acquire(&mut args)?;
                self.apply(Change::AcquireFrom { acquire: acquire.into(), alternative })
            }
            "refuse" => {
                let change = Change::from(parse::acquire(&mut args)?);
                let refused = self.limiter.refuse(self.stamp, &change);
                Ok(refused.map_or("not refused: propose it".into(), |answer| show::answer(&answer)))
            }
            "report" => {
                let report = parse::feedback::report(&mut args)?;
                self.apply(Change::from(report))
            }
            "renew" => {
                let renew = Renew { permit: permit(&mut args)?, lease: option(&mut args, "lease", span)? };
                self.apply(Change::Renew(renew))
            }
            "release" => self.release(&mut args),
            "give_back" => {
                let permit = permit(&mut args)?;
                self.apply(Change::GiveBack(permit))
            }
            "pause" => {
                let order = parse::pause(&mut args)?;
                self.apply(Change::PauseResource(order))
            }
            "hold_back" => {
                let report = parse::hold_back(&mut args)?;
                self.apply(Change::HoldBack(report))
            }
            "invalidate" => {
                let order = parse::invalidation(&mut args)?;
                self.apply(Change::InvalidateResults(order))
            }
            "resume" => {
                let resource = resource_name(&mut args)?;
                let key = option(&mut args, "key", label)?.unwrap_or_default();
                let all_keys = take(&mut args, "all_keys")?.unwrap_or(true);
                self.apply(Change::ResumeResource(ResumeResource { resource, key, all_keys }))
            }
            "key" => {
                let resource = resource_name(&mut args)?;
                let key = label(required(args.next_pos(), "a key")?)?;
                let state = parse::key_state(required(args.next_pos(), "a state")?)?;
                self.apply(Change::SetKeyState(SetKeyState { resource, key, state }))
            }
            "advance" => self.advance(&mut args),
            "wall" => {
                let timestamp: jiff::Timestamp = required(args.next_pos(), "a timestamp")?.parse()?;
                self.stamp.wall = WallTime(i64::try_from(timestamp.as_nanosecond())?);
                Ok(String::new())
            }
            "usage" => {
                let name = resource_name(&mut args)?;
                let value = option(&mut args, "value", label)?;
                let usage = self.limiter.usage(self.stamp, &name, value.as_ref(), 100, 100);
                Ok(show::usage(&usage.ok_or("no such resource")?))
            }
            "restore" => self.restore(),
            name => return Err(format!("unknown command {name}").into()),
        }?;
        args.reject_next()?;
        Ok(output)
    }
}

impl Script {
    fn apply(&mut self, change: Change) -> Output {
        let answer = self.answer(change)?;
        let turned = self.limiter.turned().iter().map(|turn| format!("\nturned: {}", show::turn(turn)));
        Ok(format!("{}{}", show::answer(&answer), turned.collect::<String>()))
    }

    fn answer(&mut self, change: Change) -> Result<Answer, Box<dyn Error>> {
        let mut answers = Vec::new();
        self.limiter.apply(self.stamp, &[change], &mut answers);
        answers.pop().ok_or_else(|| "no answer".into())
    }

    fn update(&mut self, args: &mut ArgumentConsumer) -> Output {
        let resource = parse::resource(args)?;
        let read = self.limiter.resource(self.stamp, &resource.name).map_or(0, |stored| stored.generation);
        let generation = take(args, "generation")?.unwrap_or(read);
        self.apply(Change::from(UpdateResource { resource, generation }))
    }

    fn release(&mut self, args: &mut ArgumentConsumer) -> Output {
        let permit = permit(args)?;
        let outcome = option(args, "outcome", parse::outcome)?.unwrap_or_default();
        let cost = take(args, "cost")?;
        let amounts = option(args, "amounts", parse::amounts)?.unwrap_or_default();
        let answer = parse::feedback::answer_with(outcome, args)?;
        let result = parse::result(args)?;
        self.apply(Change::Release(Release { permit, outcome, cost, amounts, answer, result }))
    }

    fn advance(&mut self, args: &mut ArgumentConsumer) -> Output {
        self.stamp = self.stamp.after(span(required(args.next_pos(), "a span")?)?);
        let before = self.limiter.totals().leases_expired;
        self.limiter.apply(self.stamp, &[], &mut Vec::new());
        Ok(match self.limiter.totals().leases_expired - before {
            0 => String::new(),
            1 => "a lease expired".into(),
            many => format!("{many} leases expired"),
        })
    }

    fn restore(&mut self) -> Output {
        let restored = Limiter::decode(&self.limiter.encode())?;
        if restored != self.limiter {
            return Err("the state differs from its encoding".into());
        }
        self.limiter = restored;
        Ok(String::new())
    }
}
