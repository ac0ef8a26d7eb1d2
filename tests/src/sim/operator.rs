//! Who defines resources, adds and removes members, and moves the leadership: one order after the other, each repeated
//! until it is done or not worth it any more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tollgate_limiter::*;
use tollgate_server::raft::{
    call::{Call, MemberChange, MemberRefusal, Refusal, Reply},
    members::{Member, NodeId},
};

use super::coverage::Coverage;

/// How often an order is tried, before it is dropped or others come first.
const TRIES_MAX: u32 = 12;

/// Something to be brought about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Define a resource that is not there, or define it anew.
    Define(Box<Resource>),
    /// Delete a resource.
    Delete(ResourceName),
    /// Pause, resume, or say what becomes of a key.
    Command(Command),
    /// Hand over to whoever is furthest along.
    Transfer,
    /// Add a member.
    Add(Member),
    /// Remove a member.
    Remove(NodeId),
}

/// Orders, one after the other.
#[derive(Debug, Default)]
pub struct Operator {
    orders: VecDeque<Order>,
    tries: u32,
    is_asking: bool,
    generations: BTreeMap<ResourceName, u64>,
    deleted: BTreeSet<ResourceName>,
}

impl Operator {
    /// Takes an order.
    pub fn take(&mut self, order: Order) {
        self.orders.push_back(order);
    }

    /// The next try, unless one is open or nothing is to be done.
    pub fn next_call(&mut self) -> Option<Call> {
        if self.is_asking {
            return None;
        }
        let order = self.orders.front()?;
        self.is_asking = true;
        self.tries += 1;
        Some(match order {
            Order::Define(resource) => match self.generations.get(&resource.name) {
                None => Command::from(Resource::clone(resource)).into(),
                Some(&generation) => {
                    Command::from(UpdateResource { resource: Resource::clone(resource), generation }).into()
                }
            },
            Order::Delete(name) => {
                Command::DeleteResource(DeleteResource { name: name.clone(), generation: 0 }).into()
            }
            Order::Command(command) => command.clone().into(),
            Order::Transfer => Call::TransferLeadership(0),
            Order::Add(member) => Call::AddMember(member.clone()),
            Order::Remove(id) => Call::RemoveMember(*id),
        })
    }

    /// The open try was answered.
    pub fn answered(&mut self, result: &Result<Reply, Refusal>, seen: &mut Coverage) {
        self.is_asking = false;
        let is_done = match result {
            Ok(Reply::Answer { answer, .. }) => self.learn(answer, seen),
            Ok(Reply::Changed(changed)) => is_settled(changed, seen),
            Ok(_) | Err(_) => false,
        };
        if is_done || self.tries >= TRIES_MAX {
            let order = self.orders.pop_front();
            // Nobody forgets a member that is gone for good.
            self.orders.extend(order.filter(|order| !is_done && matches!(order, Order::Remove(_))));
            self.tries = 0;
        }
    }

    /// Nobody answered the open try.
    pub fn gave_up(&mut self) {
        self.answered(&Err(Refusal::OutcomeUnknown), &mut Coverage::default());
    }

    fn learn(&mut self, answer: &Answer, seen: &mut Coverage) -> bool {
        let name = match self.orders.front() {
            Some(Order::Define(resource)) => resource.name.clone(),
            Some(Order::Delete(name)) => {
                self.generations.remove(name);
                self.deleted.insert(name.clone());
                return true;
            }
            Some(Order::Command(command)) if answer.is_ok() => {
                match command {
                    Command::PauseResource(_) => seen.hit("resource paused"),
                    Command::SetKeyState(order) if order.state != KeyState::Active => {
                        seen.hit("key withdrawn");
                    }
                    _ => {}
                }
                return true;
            }
            _ => return true,
        };
        match answer {
            Ok(Outcome::Stored(stored)) => {
                let is_anew = self.deleted.remove(&name);
                if self.generations.insert(name, stored.generation).is_some() {
                    seen.hit("resource redefined");
                } else if is_anew {
                    seen.hit("resource recreated");
                }
                true
            }
            Err(Rejection::StaleGeneration { current }) => {
                self.generations.insert(name, *current);
                false
            }
            Err(Rejection::ResourceNotFound) => {
                self.generations.remove(&name);
                false
            }
            // An earlier try has created it: any generation will be refused with the right one.
            Err(Rejection::ResourceExists) => {
                self.generations.insert(name, 1);
                false
            }
            _ => true,
        }
    }
}

fn is_settled(changed: &Result<MemberChange, MemberRefusal>, seen: &mut Coverage) -> bool {
    match changed {
        Ok(MemberChange::Added(_)) => seen.hit("member added"),
        Ok(MemberChange::Removed) => seen.hit("member removed"),
        Ok(MemberChange::Transferred(_)) => seen.hit("leadership transferred"),
        Ok(MemberChange::Registered) => {}
        Err(MemberRefusal::ChangeInProgress | MemberRefusal::TransferTimedOut(_)) => return false,
        Err(_) => {}
    }
    true
}
