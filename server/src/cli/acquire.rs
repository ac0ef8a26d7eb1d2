//! `tollgate acquire`: asks for a permit, and shows the decision or runs a command with it.

use std::{ffi::OsString, process::ExitCode, time::Duration};

use tollgate_client::{Acquire, Alternative, Client, Error, Permit, Priority};

use super::{
    Failure, Output,
    decision::{denied_json, denied_text, granted_json, granted_text},
    duration,
    failure::Code,
    run,
};

#[derive(Debug, clap::Args)]
#[command(after_help = run::HELP)]
pub struct Args {
    /// The resource that is about to be called, such as salesforce/acme.
    resource: String,

    /// What is about to be done, such as search: selects the limits that apply.
    #[arg(long, value_name = "NAME")]
    operation: Option<String>,

    /// How much the call weighs on limits without a dimension [default: what the operation costs].
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

    /// Wait for its turn for up to this long [default: not at all]. At most 1h.
    #[arg(long, alias = "wait", value_name = "DURATION", value_parser = duration::parse, default_value = "0s", hide_default_value = true)]
    max_wait: Duration,

    /// Another resource that would do as well, if the first has no room. Repeat it for others, in the order of preference.
    #[arg(long = "or", value_name = "RESOURCE[:OPERATION]", value_parser = parse_alternative)]
    others: Vec<Alternative>,

    /// Makes a repetition safe: the same id and request return the same permit for 10 minutes [default: a new one].
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,

    /// Run this command only with a permit; renew its lease meanwhile, release it afterwards.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Urgency {
    High,
    Medium,
    Low,
}

pub async fn run(client: &Client, output: Output, args: Args) -> Result<ExitCode, Failure> {
    let decision = args.request(client).await;
    if let Ok(permit) = &decision
        && let Some(uncounted) = args.uncounted(permit)
    {
        eprintln!("warning: {uncounted}");
    }
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
    /// What to say of a permit that no limit counts: its operation may be misspelt, or have been forgotten.
    fn uncounted(&self, permit: &Permit) -> Option<String> {
        // Of one that is granted again nobody tells.
        if permit.replayed() || !permit.usage().is_empty() {
            return None;
        }
        let call = match &self.operation {
            _ if !self.others.is_empty() => "this call".to_owned(),
            Some(operation) => format!("operation \"{operation}\""),
            None => "a call that names no operation".to_owned(),
        };
        Some(format!("no limit applies to {call}: it counts nowhere"))
    }

    fn request(&self, client: &Client) -> Acquire {
        let mut acquire = client.acquire(&self.resource).wait_up_to(self.max_wait);
        for other in &self.others {
            acquire = acquire.or(other.clone());
        }
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

/// Reads `hubspot/acme` or `hubspot/acme:search`.
fn parse_alternative(text: &str) -> Result<Alternative, String> {
    match text.split_once(':') {
        Some((_, "")) => Err("give an operation after the colon, or leave the colon out".to_owned()),
        Some((resource, operation)) => Ok(Alternative::new(resource).operation(operation)),
        None => Ok(Alternative::new(text)),
    }
}

/// Reads `input_tokens=1200`.
pub fn parse_amount(text: &str) -> Result<(String, u64), String> {
    let (dimension, amount) = text.split_once('=').ok_or("give it as DIMENSION=NUMBER")?;
    let amount = amount.parse().map_err(|_| format!("`{amount}` is not a whole number"))?;
    Ok((dimension.to_owned(), amount))
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
