//! `tollgate acquire`: asks for a permit, and shows the decision or runs a command with it.

use std::{ffi::OsString, fmt::Write, process::ExitCode, time::Duration};

use serde_json::{Value, json};
use tollgate_client::{Acquire, Client, Denial, DenialReason, Error, Pause, Permit, Priority};

use super::{
    Failure, Output, duration,
    failure::Code,
    output::seconds,
    run,
    table::{table, thousands},
};

#[derive(Debug, clap::Args)]
#[command(after_help = run::HELP)]
pub struct Args {
    /// The resource that is about to be called, such as salesforce/acme.
    resource: String,

    /// What is about to be done, such as search: selects the limits that apply.
    #[arg(long, value_name = "NAME")]
    operation: Option<String>,

    /// How much the call weighs on limits without a dimension [default: 1].
    #[arg(long)]
    cost: Option<u64>,

    /// How much it weighs in a dimension, such as input_tokens=1200. Repeat it for others.
    #[arg(long = "amount", value_name = "DIMENSION=NUMBER", value_parser = parse_amount)]
    amounts: Vec<(String, u64)>,

    /// Who asks, such as crm-sync.
    #[arg(long, value_name = "NAME")]
    consumer: Option<String>,

    /// On whose behalf, such as jane@acme.example.
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,

    /// Which credential of the resource to use [default: the one with the most headroom].
    #[arg(long, value_name = "NAME")]
    key: Option<String>,

    /// How urgent it is beside others that wait.
    #[arg(long, value_enum)]
    priority: Option<Urgency>,

    /// How long a slot is held unless renewed or released [default: the resource's].
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    lease: Option<Duration>,

    /// On a denial, ask again until this much time has passed.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "0s", hide_default_value = true)]
    wait: Duration,

    /// Makes a repetition safe: the same id and request return the same permit for 10 minutes [default: a new one].
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,

    /// Run this command only with a permit; renew its lease meanwhile, release it afterwards.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Urgency {
    High,
    Medium,
    Low,
}

pub async fn run(client: &Client, output: Output, args: Args) -> Result<ExitCode, Failure> {
    let decision = args.request(client).await;
    match decision {
        Ok(permit) if args.command.is_empty() => {
            output.print(|| granted_text(&permit), || granted_json(&permit))?;
            // Whoever reads the id renews and releases.
            permit.detach();
            Ok(ExitCode::SUCCESS)
        }
        Ok(permit) => run::run(permit, &args.command).await,
        // Beside a command, standard output is the command's.
        Err(Error::Denied(denial)) if args.command.is_empty() => {
            output.print(|| denied_text(&denial), || denied_json(&denial))?;
            Ok(Code::Denied.into())
        }
        Err(error) => Err(error.into()),
    }
}

impl Args {
    fn request(&self, client: &Client) -> Acquire {
        let mut acquire = client.acquire(&self.resource).wait_up_to(self.wait);
        if let Some(operation) = &self.operation {
            acquire = acquire.operation(operation);
        }
        if let Some(cost) = self.cost {
            acquire = acquire.cost(cost);
        }
        for (dimension, amount) in &self.amounts {
            acquire = acquire.amount(dimension, *amount);
        }
        if let Some(consumer) = &self.consumer {
            acquire = acquire.consumer(consumer);
        }
        if let Some(subject) = &self.subject {
            acquire = acquire.subject(subject);
        }
        if let Some(key) = &self.key {
            acquire = acquire.key(key);
        }
        if let Some(priority) = self.priority {
            acquire = acquire.priority(priority.into());
        }
        if let Some(lease) = self.lease {
            acquire = acquire.lease(lease);
        }
        if let Some(id) = &self.request_id {
            acquire = acquire.request_id(id);
        }
        if self.command.is_empty() { acquire.without_renewal() } else { acquire }
    }
}

/// Reads `input_tokens=1200`.
pub fn parse_amount(text: &str) -> Result<(String, u64), String> {
    let (dimension, amount) = text.split_once('=').ok_or("give it as DIMENSION=NUMBER")?;
    let amount = amount.parse().map_err(|_| format!("`{amount}` is not a whole number"))?;
    Ok((dimension.to_owned(), amount))
}

fn granted_text(permit: &Permit) -> String {
    let mut text = format!("granted {}{}", permit.id(), if permit.replayed() { " (again)" } else { "" });
    // Writing to a String cannot fail.
    if !permit.key().is_empty() {
        let _ = write!(text, "\n  key             {}", permit.key());
    }
    if let Some(within) = permit.dispatch_within() {
        let _ = write!(text, "\n  dispatch within {}", duration::human(within));
    }
    if let Some(lease) = permit.held_for_another() {
        let _ = write!(text, "\n  lease           {}", duration::human(lease));
    }
    for slot in permit.slots() {
        let _ = write!(
            text,
            "\n  slot            {} of {}, generation {}",
            slot.index, slot.limit, slot.generation
        );
    }
    for usage in permit.usage() {
        let (left, amount) = (thousands(usage.available), thousands(usage.amount));
        let _ = write!(text, "\n  left            {left} of {amount} {}", usage.limit);
        if usage.shadow {
            text += if usage.would_deny { " (shadow: would deny)" } else { " (shadow)" };
        }
    }
    text
}

fn granted_json(permit: &Permit) -> Value {
    let slots = permit
        .slots()
        .iter()
        .map(|slot| json!({ "limit": slot.limit, "index": slot.index, "generation": slot.generation }));
    let usage = permit.usage().iter().map(|usage| {
        json!({
            "limit": usage.limit, "amount": usage.amount, "available": usage.available,
            "shadow": usage.shadow, "would_deny": usage.would_deny,
        })
    });
    json!({
        "decision": "granted",
        "permit_id": permit.id(),
        "key": permit.key(),
        "replayed": permit.replayed(),
        "dispatch_within_seconds": permit.dispatch_within().map(seconds),
        "lease_seconds": permit.held_for_another().map(seconds),
        "slots": slots.collect::<Vec<_>>(),
        "usage": usage.collect::<Vec<_>>(),
    })
}

fn denied_text(denial: &Denial) -> String {
    let rows: Vec<_> = denial
        .exhausted
        .iter()
        .map(|limit| {
            [
                limit.limit.clone(),
                limit.scope_value.clone(),
                thousands(limit.requested),
                thousands(limit.available),
                thousands(limit.amount),
                duration::human(limit.retry_after),
            ]
        })
        .collect();
    let headings = ["LIMIT", "SCOPE", "REQUESTED", "AVAILABLE", "AMOUNT", "RETRY AFTER"];
    let mut text = reason_text(denial);
    match denial.retry_after {
        Some(retry_after) => text += &format!(": ask again in {}", duration::human(retry_after)),
        None => text += " until an operator orders otherwise",
    }
    if !rows.is_empty() {
        text += &format!("\n{}", table(headings, &rows));
    }
    text
}

fn reason_text(denial: &Denial) -> String {
    match &denial.reason {
        DenialReason::LimitExhausted => format!("denied by {}", denial.limit),
        DenialReason::Paused(pause) => format!("denied: {pause}"),
        DenialReason::KeyUnavailable => "denied: no key is active".to_owned(),
        DenialReason::BudgetExhausted => format!("denied by the budgets of {}", denial.limit),
        DenialReason::OthersWait => format!("denied: others wait for {} first", denial.limit),
        _ => "denied".to_owned(),
    }
}

fn denied_json(denial: &Denial) -> Value {
    let exhausted = denial.exhausted.iter().map(|limit| {
        json!({
            "limit": limit.limit, "scope_value": limit.scope_value, "amount": limit.amount,
            "available": limit.available, "requested": limit.requested,
            "retry_after_seconds": seconds(limit.retry_after),
        })
    });
    let (reason, pause) = match &denial.reason {
        DenialReason::LimitExhausted => ("limit_exhausted", None),
        DenialReason::Paused(pause) => ("paused", Some(pause)),
        DenialReason::KeyUnavailable => ("key_unavailable", None),
        DenialReason::BudgetExhausted => ("budget_exhausted", None),
        DenialReason::OthersWait => ("others_wait", None),
        _ => ("other", None),
    };
    json!({
        "decision": "denied",
        "reason": reason,
        "limit": denial.limit,
        "pause": pause.map(|pause| pause_json(pause)),
        "retry_after_seconds": denial.retry_after.map(seconds),
        "exhausted": exhausted.collect::<Vec<_>>(),
    })
}

fn pause_json(pause: &Pause) -> Value {
    json!({ "key": pause.key, "left_seconds": pause.left.map(seconds), "reason": pause.reason })
}

impl From<Urgency> for Priority {
    fn from(urgency: Urgency) -> Priority {
        match urgency {
            Urgency::High => Priority::High,
            Urgency::Medium => Priority::Medium,
            Urgency::Low => Priority::Low,
        }
    }
}
