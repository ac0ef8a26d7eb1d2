//! Requests that wait behind one another whatever happens: of one consumer and priority, drawing on the same counters.
//!
//! Only the head of a flow stands in a line, so a hundred thousand requests of one consumer cost no more to look at, and to
//! move from line to line, than one.

use std::{collections::BTreeSet, sync::Arc};

use tollgate_limiter::{Acquire, Label, Line, Priority, ResourceName, Signature, Span};

use super::arrival::Arrival;

/// Names a flow in its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FlowId(pub u64);

/// What requests have in common that are in one flow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FlowKey {
    pub priority: Priority,
    pub consumer: Label,
    pub signature: Signature,
}

/// One flow. It is never without a member.
#[derive(Debug)]
pub(crate) struct Flow {
    pub key: Arc<FlowKey>,
    pub members: BTreeSet<Arrival>,
    /// Where its head stands; absent while it is at the door, to be looked at for the first time.
    pub stands: Option<Line>,
    /// Since when its head stands there, by the leader's clock.
    pub since: Span,
    pub texts: Texts,
}

/// What requests of a flow mostly agree in. Requests from the wire each bring texts of their own: those that wait share
/// them.
#[derive(Debug)]
pub(crate) struct Texts {
    resource: ResourceName,
    labels: [Label; 4],
}

impl Flow {
    /// The one that goes first.
    pub fn head(&self) -> Option<Arrival> {
        self.members.first().copied()
    }
}

impl Texts {
    pub fn of(acquire: &Acquire) -> Texts {
        let Acquire { operation, consumer, subject, key, .. } = acquire;
        let labels = [operation, consumer, subject, key].map(Label::clone);
        Texts { resource: acquire.resource.clone(), labels }
    }

    /// Lets the request use these texts where it says the same. One that somebody else holds, too, keeps its own: they would
    /// stay in any case.
    pub fn lend(&self, acquire: &mut Arc<Acquire>) {
        let Some(acquire) = Arc::get_mut(acquire) else { return };
        if acquire.resource == self.resource {
            acquire.resource = self.resource.clone();
        }
        let Acquire { operation, consumer, subject, key, .. } = acquire;
        for (own, shared) in [operation, consumer, subject, key].into_iter().zip(&self.labels) {
            if own == shared {
                *own = shared.clone();
            }
        }
    }
}
