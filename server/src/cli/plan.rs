//! `tollgate plan`: how long would some work take?

mod step;

use std::{
    process::ExitCode,
    time::{Duration, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tollgate_client::{
    Client, Priority,
    v1::{BudgetCause, EstimateWorkRequest, EstimateWorkResponse, StepEstimate},
};

use self::step::Step;
use super::{
    Failure, Output,
    acquire::Urgency,
    duration,
    failure::Code,
    output::wire_seconds,
    table::{table, thousands},
};

#[derive(Debug, clap::Args)]
#[command(after_help = step::HELP)]
pub struct Args {
    /// How many records there are.
    #[arg(long, value_name = "NUMBER")]
    records: u64,

    /// What is called for each of them, such as hubspot/acme:search. Repeat it for other calls; they go on side by side.
    #[arg(long = "step", value_name = "RESOURCE[:OPERATION][,SETTING=VALUE]…", required = true, value_parser = step::parse)]
    steps: Vec<Step>,

    /// Who does it, such as crm-sync: selects budgets.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    consumer: String,

    /// How urgent it is: what waits with the same or a higher priority goes first.
    #[arg(long, value_enum)]
    priority: Option<Urgency>,
}

pub async fn run(client: &Client, output: Output, args: Args) -> Result<ExitCode, Failure> {
    let Args { records, steps, consumer, priority } = args;
    let priority = priority.map_or(Priority::Unspecified, Priority::from).into();
    let wire = steps.iter().map(|step| step.wire.clone()).collect();
    let request = EstimateWorkRequest { records, steps: wire, consumer, priority };
    let plan = client.estimate(request).await?;
    output.print(|| text(records, &steps, &plan), || json(records, &steps, &plan))?;
    Ok(if plan.possible { ExitCode::SUCCESS } else { Code::Denied.into() })
}

fn text(records: u64, steps: &[Step], plan: &EstimateWorkResponse) -> String {
    let mut text = summary(records, steps, plan);
    let rows: Vec<_> = steps
        .iter()
        .zip(&plan.steps)
        .map(|(step, estimate)| {
            [
                step.name(),
                thousands(estimate.calls),
                thousands(estimate.waiting_ahead),
                duration::wire(estimate.first_call_after),
                duration::wire(estimate.duration),
                held_up_by(estimate),
            ]
        })
        .collect();
    let headings = ["STEP", "CALLS", "WAITING AHEAD", "FIRST AFTER", "TAKES", "HELD UP BY"];
    text += &format!("\n\n{}", table(headings, &rows));
    for (step, estimate) in steps.iter().zip(&plan.steps).filter(|(_, of)| !of.impossible.is_empty()) {
        text += &format!("\n\n{}: {}", step.name(), estimate.impossible);
    }
    text
}

fn summary(records: u64, steps: &[Step], plan: &EstimateWorkResponse) -> String {
    let records = match records {
        1 => "1 record".to_owned(),
        many => format!("{} records", thousands(many)),
    };
    if !plan.possible {
        return format!("{records} cannot be done");
    }
    let done_at = done_at(plan).map(|at| format!(", done at {at}")).unwrap_or_default();
    let longest = steps.get(plan.binding_step as usize).filter(|_| steps.len() > 1);
    let longest = longest.map(|step| format!("; {} takes longest", step.name())).unwrap_or_default();
    format!("{records} take {}{done_at}{longest}", duration::wire(plan.duration))
}

/// RFC 3339 in UTC, rounded up to whole seconds.
fn done_at(plan: &EstimateWorkResponse) -> Option<String> {
    let done_at = plan.done_at?;
    let seconds = u64::try_from(done_at.seconds).ok()? + u64::from(done_at.nanos > 0);
    Some(humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string())
}

fn held_up_by(step: &StepEstimate) -> String {
    let cause = match step.budget_cause() {
        BudgetCause::Unspecified => return step.limit.clone(),
        BudgetCause::Ceiling => "the budget's ceiling",
        BudgetCause::Reserve => "reserved for others",
        BudgetCause::Schedule => "outside the budget's hours",
    };
    format!("{} ({cause})", step.limit)
}

fn json(records: u64, steps: &[Step], plan: &EstimateWorkResponse) -> Value {
    let steps = steps.iter().zip(&plan.steps).map(|(step, estimate)| step_json(step, estimate));
    json!({
        "records": records,
        "possible": plan.possible,
        "duration_seconds": wire_seconds(plan.duration),
        "done_at": done_at(plan),
        "binding_step": plan.binding_step,
        "steps": steps.collect::<Vec<_>>(),
    })
}

fn step_json(step: &Step, estimate: &StepEstimate) -> Value {
    let budget_cause = match estimate.budget_cause() {
        BudgetCause::Unspecified => None,
        BudgetCause::Ceiling => Some("ceiling"),
        BudgetCause::Reserve => Some("reserve"),
        BudgetCause::Schedule => Some("schedule"),
    };
    json!({
        "resource": step.wire.resource,
        "operation": step.wire.operation,
        "calls": estimate.calls,
        "duration_seconds": wire_seconds(estimate.duration),
        "limit": estimate.limit,
        "budget_cause": budget_cause,
        "impossible": Some(&estimate.impossible).filter(|why| !why.is_empty()),
        "first_call_after_seconds": wire_seconds(estimate.first_call_after),
        "waiting_ahead": estimate.waiting_ahead,
    })
}
