//! Live figures, from the wire and for it.

use prost::Message;
use tollgate_limiter::{CounterFigures, HeldSlot, Label, LimitFigures, ResourceName, ResourceUsage};
use tollgate_proto::v1;

use super::{Fields, Invalid, duration, permit::permit_id, resource::resource};
use crate::raft::call::Query;

const SCOPE_VALUES: u32 = 100;
const SCOPE_VALUES_MAX: u64 = 1_000;

/// Clients read messages of up to 4 MiB unless told otherwise; the counters need room beside the slots.
const HELD_BYTES_MAX: usize = 2 << 20;

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
        held: fitting(usage.held.into_iter().map(held)),
        settleable_permits: usage.settleable_permits,
        ..v1::GetResourceUsageResponse::default()
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
    }
}

/// As many slots as fit in an answer that every client can read.
fn fitting(held: impl Iterator<Item = v1::HeldSlot>) -> Vec<v1::HeldSlot> {
    let mut bytes = 0;
    held.take_while(|slot| {
        bytes += slot.encoded_len();
        bytes <= HELD_BYTES_MAX
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
