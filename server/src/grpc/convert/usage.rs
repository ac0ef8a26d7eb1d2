//! Live figures, from the wire and for it.

use prost::Message;
use tollgate_limiter::{
    BudgetFigures, CounterFigures, HeldSlot, Label, LimitFigures, ResourceName, ResourceUsage,
};
use tollgate_proto::v1;

use super::{
    Fields, Invalid,
    budget::{budget_figures, consumer_figures},
    circuit::pace,
    duration,
    permit::permit_id,
    resource::resource,
};
use crate::raft::call::Query;

const SCOPE_VALUES: u32 = 100;
const SCOPE_VALUES_MAX: u64 = 1_000;

/// Clients read messages of up to 4 MiB unless told otherwise; the counters need room beside the slots.
const HELD_BYTES_MAX: usize = 2 << 20;

/// Consumers, too, leave room for the others.
const CONSUMERS_BYTES_MAX: usize = 768 << 10;

/// What one budget, of 32 at most, has of limits.
const USES_BYTES_MAX: usize = 16 << 10;

/// Reads the request for figures.
pub fn query(request: &v1::GetResourceUsageRequest) -> Result<Query, Invalid> {
    let mut fields = Fields::default();
    let name = fields.name("name", ResourceName::new(&request.name));
    let scope_value = fields.name("scope_value", Label::new(&request.scope_value));
    fields.within("max_scope_values", request.max_scope_values.into(), 0..=SCOPE_VALUES_MAX);
    let max_scope_values = match request.max_scope_values {
        0 => SCOPE_VALUES,
        given => given,
    };
    let query = name.zip(scope_value).map(|(name, value)| {
        let scope_value = Some(value).filter(|value| !value.is_empty());
        Query::Usage { name, scope_value, max_scope_values }
    });
    fields.finish(query)
}

/// The figures.
pub fn figures(usage: ResourceUsage) -> v1::GetResourceUsageResponse {
    v1::GetResourceUsageResponse {
        resource: Some(resource(usage.stored)),
        limits: usage.limits.into_iter().map(limit).collect(),
        held: fitting(usage.held.into_iter().map(held), HELD_BYTES_MAX),
        settleable_permits: usage.settleable_permits,
        budgets: usage.budgets.into_iter().map(budget).collect(),
        consumers: fitting(usage.consumers.into_iter().map(consumer_figures), CONSUMERS_BYTES_MAX),
        waiting: usage.waiting,
    }
}

fn limit(figures: LimitFigures) -> v1::LimitFigures {
    v1::LimitFigures {
        limit: figures.limit.to_string(),
        counters: figures.counters.into_iter().map(counter).collect(),
        scope_values: figures.scope_values,
    }
}

fn counter(figures: CounterFigures) -> v1::CounterFigures {
    v1::CounterFigures {
        scope_value: figures.scope_value.to_string(),
        amount: figures.amount,
        used: figures.used,
        available: figures.available,
        full_in: Some(duration(figures.full_in)),
        used_by_others: figures.used_by_others,
        held_for: (!figures.held_for.is_zero()).then(|| duration(figures.held_for)),
        pace: figures.pace.map(pace),
    }
}

fn budget(figures: BudgetFigures) -> v1::BudgetFigures {
    let mut figures = budget_figures(figures);
    figures.uses = fitting(figures.uses.into_iter(), USES_BYTES_MAX);
    figures
}

/// As many as fit in their part of an answer that every client can read.
fn fitting<M: Message>(messages: impl Iterator<Item = M>, bytes_max: usize) -> Vec<M> {
    let mut bytes = 0;
    messages
        .take_while(|message| {
            bytes += message.encoded_len();
            bytes <= bytes_max
        })
        .collect()
}

fn held(slot: HeldSlot) -> v1::HeldSlot {
    v1::HeldSlot {
        limit: slot.limit.to_string(),
        scope_value: slot.scope_value.to_string(),
        index: slot.index,
        generation: slot.generation,
        permit_id: permit_id(slot.permit),
        consumer: slot.consumer.to_string(),
        subject: slot.subject.to_string(),
        operation: slot.operation.to_string(),
        held_for: Some(duration(slot.held_for)),
        lease_left: Some(duration(slot.lease_left)),
    }
}
