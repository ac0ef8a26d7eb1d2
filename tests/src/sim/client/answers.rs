//! What a client makes of an answer, and of none.

use tollgate_limiter::*;
use tollgate_server::raft::call::{Refusal, Reply};

use super::{super::coverage::Coverage, Client, Errand, Ground, Intent, Purpose, TRIES_MAX, Token, release};

impl Client {
    /// A try was answered.
    pub fn answered(
        &mut self,
        ground: Ground,
        token: Token,
        result: &Result<Reply, Refusal>,
        seen: &mut Coverage,
    ) {
        let Some(intent) = self.open.remove(&token) else { return };
        match result {
            Ok(Reply::Answer { answer, waited }) => {
                if !waited.is_zero() {
                    let is_granted = matches!(**answer, Ok(Outcome::Granted(_)));
                    seen.hit(if is_granted {
                        "granted after it had waited"
                    } else {
                        "patience ended in the queue"
                    });
                }
                self.learn(ground.now, intent, answer, seen);
            }
            Ok(_) => {}
            Err(Refusal::OutcomeUnknown | Refusal::DeadlineExceeded) => {
                seen.hit("unknown outcome");
                self.doubt(ground, intent, seen);
            }
            Err(refusal) => {
                seen.hit("definite failure");
                self.try_elsewhere(ground, intent, refusal);
            }
        }
    }

    /// It lost patience with a try, or cancelled it.
    pub fn gave_up(&mut self, ground: Ground, token: Token, seen: &mut Coverage) {
        if let Some(intent) = self.open.remove(&token) {
            self.doubt(ground, intent, seen);
        }
    }

    fn learn(&mut self, now: Span, intent: Intent, answer: &Answer, seen: &mut Coverage) {
        match (&intent.command, answer) {
            (Command::Acquire(acquire), Ok(Outcome::Granted(grant))) => {
                seen.hit(if grant.replayed { "replayed" } else { "granted" });
                if grant.alternative > 0 {
                    seen.hit("granted by an alternative");
                }
                self.hold(now, &intent, acquire, grant, seen);
            }
            (Command::Acquire(_), Ok(Outcome::Denied(_))) => seen.hit("denied"),
            (Command::Acquire(_), Err(Rejection::RequestIdReused)) => seen.hit("reused request id refused"),
            (Command::Renew(renew), Ok(Outcome::Renewed(lease))) if intent.purpose == Purpose::Renew => {
                seen.hit("renewed");
                self.extend(now, &intent, renew.permit, *lease);
            }
            (_, Err(Rejection::PermitEnded)) if intent.purpose == Purpose::Haunt => {
                seen.hit("zombie refused")
            }
            (Command::Release(end), Ok(Outcome::Released(_))) => {
                seen.hit("released");
                if intent.purpose == Purpose::Release && self.chance(self.temper.doubles) {
                    seen.hit("released twice");
                    let again = Intent::new(release(end.permit), Purpose::ReleaseAgain);
                    let pause = Span::from_millis(self.random.below(500));
                    self.plan(now + pause, Errand::Send(Box::new(again)));
                }
            }
            _ => {}
        }
    }

    fn hold(&mut self, now: Span, intent: &Intent, acquire: &Acquire, grant: &Grant, seen: &mut Coverage) {
        let is_known = self.held.insert(grant.permit, acquire.clone()).is_some();
        if let Some(lease) = grant.lease {
            self.extend(now, intent, grant.permit, lease);
        }
        if is_known || grant.replayed && intent.purpose != Purpose::Acquire {
            return;
        }
        let hold = Span::from_millis(self.random.between(1, self.temper.hold_ms));
        self.plan(now + hold, Errand::Release(grant.permit));
        if acquire.request_id.is_some() && self.chance(self.temper.replays) {
            let replay = Intent::new(intent.command.clone(), Purpose::Replay);
            self.plan_again(now, Intent { attempt: 2, ..replay });
        }
        if acquire.request_id.is_some() && self.chance(self.temper.forges) {
            seen.hit("request id reused with another body");
            let forged = Acquire { cost: acquire.cost + 1, ..acquire.clone() };
            let forge = Intent::new(Command::from(forged), Purpose::Forge);
            let attempt = self.random.between(1, 2) as u32;
            self.plan_again(now, Intent { attempt, ..forge });
        }
    }

    /// A lease ends, for its holder, so long after it was asked for.
    fn extend(&mut self, now: Span, intent: &Intent, permit: PermitId, lease: Span) {
        let ends_at = intent.asked_at + lease;
        self.errands.retain(|_, errand| !matches!(errand, Errand::LetGo(other) if *other == permit));
        self.plan(ends_at.max(now), Errand::LetGo(permit));
        if self.chance(self.temper.renews) && ends_at > now {
            self.plan(now + Span((ends_at.0 - now.0) / 2), Errand::Renew(permit));
        }
    }

    /// It may have been done.
    fn doubt(&mut self, ground: Ground, intent: Intent, seen: &mut Coverage) {
        let is_safe = match &intent.command {
            Command::Acquire(acquire) => acquire.request_id.is_some(),
            _ => true,
        };
        if is_safe && intent.tries < TRIES_MAX && self.chance(self.temper.retries) {
            seen.hit("retry after an unknown outcome");
            let attempt = (intent.attempt + 1).max(2);
            self.leader = *self.random.pick(ground.nodes);
            self.plan_again(ground.now, Intent { attempt, ..intent });
        }
    }

    /// It was not done.
    fn try_elsewhere(&mut self, ground: Ground, intent: Intent, refusal: &Refusal) {
        let pause = match refusal {
            Refusal::NotLeader { leader: Some(leader) } => {
                self.leader = *leader;
                Span::ZERO
            }
            _ => {
                self.leader = *self.random.pick(ground.nodes);
                Span::from_millis(self.random.between(50, 400))
            }
        };
        // Some give up, so that there are requests of which nothing may ever be found.
        if intent.tries < TRIES_MAX && self.chance(800) {
            self.plan(ground.now + pause, Errand::Send(Box::new(intent)));
        }
    }
}
