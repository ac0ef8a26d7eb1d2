//! Work to plan, from the wire, and its estimate for it.

use prost_types::Timestamp;
use tollgate_limiter::{
    Label, NANOS_PER_SECOND, Rejection, ResourceName, Span, StepEstimate, Violation, WallTime, Work,
    WorkEstimate, WorkRejection, WorkStep,
};
use tollgate_proto::v1;

use super::{
    Fields, Invalid,
    acquire::{PRIORITIES, amounts, cost, priority},
    decision::budget_cause,
    duration,
};

const RECORDS_MAX: u64 = 1_000_000_000;
const STEPS_MAX: usize = 16;
const CALLS_PER_RECORD_MAX: u64 = 1_000;
const RECORDS_PER_CALL_MAX: u64 = 10_000;

const CALL_DURATION: Span = Span::from_secs(1);
const CALL_DURATION_MAX: Span = Span::from_secs(24 * 3600);

/// Reads and checks the work.
pub fn work(request: v1::EstimateWorkRequest) -> Result<Work, Invalid> {
    let mut fields = Fields::default();
    let records = fields.within("records", request.records, 1..=RECORDS_MAX);
    let consumer = fields.name("consumer", Label::new(&request.consumer));
    let priority = fields.variant("priority", request.priority, PRIORITIES).map(priority);
    if request.steps.is_empty() || request.steps.len() > STEPS_MAX {
        let problem = format_args!("must be 1 to {STEPS_MAX}, not {}", request.steps.len());
        fields.reject("steps", problem);
        return fields.finish(None);
    }
    let mut steps = Vec::with_capacity(request.steps.len());
    for (position, wire) in request.steps.into_iter().enumerate() {
        steps.push(fields.nested(&format!("steps[{position}]"), |fields| step(fields, wire, records)));
    }
    let work = steps
        .into_iter()
        .collect::<Option<Vec<_>>>()
        .and_then(|steps| Some(Work { consumer: consumer?, priority: priority?, steps }));
    fields.finish(work)
}

fn step(fields: &mut Fields, wire: v1::WorkStep, records: u64) -> Option<WorkStep> {
    let resource = fields.name("resource", ResourceName::new(&wire.resource));
    let operation = fields.name("operation", Label::new(&wire.operation));
    let calls = calls(fields, &wire, records);
    let cost = cost(fields, wire.cost);
    let amounts = amounts(fields, wire.amounts);
    let key = fields.name("key", Label::new(&wire.key));
    let lasts = fields.span_within("call_duration", wire.call_duration, Span::ZERO..=CALL_DURATION_MAX);
    Some(WorkStep {
        resource: resource?,
        operation: operation?,
        calls,
        cost,
        amounts,
        key: key?,
        call_duration: lasts.unwrap_or(CALL_DURATION),
    })
}

/// Calls in all. On the wire 0 is what is not given, and means 1.
fn calls(fields: &mut Fields, wire: &v1::WorkStep, records: u64) -> u64 {
    let given = |number: u32| u64::from(number.max(1));
    let per_record =
        fields.within("calls_per_record", given(wire.calls_per_record), 1..=CALLS_PER_RECORD_MAX);
    let per_call = fields.within("records_per_call", given(wire.records_per_call), 1..=RECORDS_PER_CALL_MAX);
    if per_record > 1 && per_call > 1 {
        fields.reject("records_per_call", "must be absent together with calls_per_record above 1");
    }
    records.saturating_mul(per_record).div_ceil(per_call)
}

/// What is wrong with the work, by the fields of the request; and the resource that is meant.
pub fn rejection(rejected: WorkRejection) -> (Rejection, usize) {
    let step = rejected.step as usize;
    let rejection = match rejected.rejection {
        Rejection::Invalid(Violation { field, problem }) if field != "consumer" => {
            Rejection::Invalid(Violation::new(format!("steps[{step}].{field}"), problem))
        }
        rejection => rejection,
    };
    (rejection, step)
}

/// The plan.
pub fn estimate(estimate: WorkEstimate) -> v1::EstimateWorkResponse {
    v1::EstimateWorkResponse {
        possible: estimate.duration.is_some(),
        duration: estimate.duration.map(duration),
        done_at: estimate.done_at.map(timestamp),
        binding_step: estimate.binding_step,
        steps: estimate.steps.into_iter().map(step_estimate).collect(),
    }
}

fn step_estimate(step: StepEstimate) -> v1::StepEstimate {
    v1::StepEstimate {
        calls: step.calls,
        duration: step.duration.map(duration),
        limit: step.limit.map(|limit| limit.to_string()).unwrap_or_default(),
        budget_cause: budget_cause(step.budget_cause).into(),
        impossible: step.impossible.unwrap_or_default(),
        first_call_after: step.first_call_after.map(duration),
        waiting_ahead: step.waiting_ahead,
    }
}

fn timestamp(wall: WallTime) -> Timestamp {
    let per_second = NANOS_PER_SECOND.cast_signed();
    // Less than a second of nanoseconds.
    Timestamp { seconds: wall.0.div_euclid(per_second), nanos: wall.0.rem_euclid(per_second) as i32 }
}
