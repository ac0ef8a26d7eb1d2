//! The log, command by command.

use std::{collections::BTreeMap, fmt};

use tollgate_limiter::{
    Acquire, Answer, CallOutcome, Command, Grant, Outcome, PermitId, Resource, ResourceName, Stamp,
};

use super::terms::Target;
use crate::history::History;

/// A command in the log, and its answer.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The entry's index, and the command's place in it.
    pub place: (u64, usize),
    /// The latest stamp so far.
    pub now: Stamp,
    /// What was asked.
    pub command: &'a Command,
    /// What was answered.
    pub answer: &'a Answer,
}

/// All commands of the log, in order.
pub fn steps(history: &History) -> impl Iterator<Item = Step<'_>> {
    let mut now = Stamp::default();
    history.log().flat_map(move |entry| {
        now = entry.stamp.map_or(now, |stamp| now.max(stamp));
        let at = now;
        entry.commands.iter().zip(&entry.answers).enumerate().map(move |(position, (command, answer))| Step {
            place: (entry.index, position),
            now: at,
            command,
            answer,
        })
    })
}

impl<'a> Step<'a> {
    /// The request, if it asks for a permit.
    pub fn acquire(&self) -> Option<&'a Acquire> {
        match self.command {
            Command::Acquire(acquire) | Command::AcquireFrom { acquire, .. } => Some(acquire),
            _ => None,
        }
    }

    /// A permit that was granted here, not a replay, and what it takes.
    pub fn fresh_grant(&self) -> Option<(Target<'a>, &'a Grant)> {
        match (self.acquire(), self.answer) {
            (Some(acquire), Ok(Outcome::Granted(grant))) if !grant.replayed => {
                Some((Target::of(acquire, grant), grant))
            }
            _ => None,
        }
    }

    /// The permit that ended here, by release or because nobody was left to receive it.
    pub fn ended(&self) -> Option<PermitId> {
        match (self.command, self.answer) {
            (Command::Release(release), Ok(Outcome::Released(_))) => Some(release.permit),
            (Command::GiveBack(permit), Ok(Outcome::Released(_))) => Some(*permit),
            _ => None,
        }
    }

    /// Whether that permit was never used: everything went back, and its request id counts as never granted.
    pub fn was_not_sent(&self) -> bool {
        match self.command {
            Command::Release(release) => release.outcome == CallOutcome::NotSent,
            Command::GiveBack(_) => true,
            _ => false,
        }
    }

    /// The resource that was deleted here.
    pub fn deleted(&self) -> Option<&'a ResourceName> {
        match (self.command, self.answer) {
            (Command::DeleteResource(delete), Ok(Outcome::Deleted)) => Some(&delete.name),
            _ => None,
        }
    }

    /// The definition that is in force from here on.
    pub fn defined(&self) -> Option<&'a Resource> {
        match self.answer {
            Ok(Outcome::Stored(stored)) => Some(&stored.resource),
            _ => None,
        }
    }
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Step { place: (index, position), now, command, answer } = self;
        write!(f, "entry {index}.{position} at {} ns: {command:?} => {answer:?}", now.cluster.0)
    }
}

/// What an operator orders about a resource, in words: equal orders have equal ones, in the log as where they were given.
pub fn order(command: &Command) -> Option<String> {
    let is_order = matches!(
        command,
        Command::CreateResource(_)
            | Command::UpdateResource(_)
            | Command::DeleteResource(_)
            | Command::PauseResource(_)
            | Command::ResumeResource(_)
            | Command::SetKeyState(_)
    );
    is_order.then(|| format!("{command:?}"))
}

/// The definitions in force, as the log goes on.
#[derive(Debug, Default)]
pub struct Definitions<'a> {
    by_name: BTreeMap<&'a ResourceName, &'a Resource>,
}

impl<'a> Definitions<'a> {
    /// Takes a step into account.
    pub fn follow(&mut self, step: &Step<'a>) {
        if let Some(resource) = step.defined() {
            self.by_name.insert(&resource.name, resource);
        } else if let Some(name) = step.deleted() {
            self.by_name.remove(name);
        }
    }

    /// The definition of that name.
    pub fn get(&self, name: &ResourceName) -> Option<&'a Resource> {
        self.by_name.get(name).copied()
    }
}
