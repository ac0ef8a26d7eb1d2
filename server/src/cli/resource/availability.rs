//! `tollgate resource pause`, `resume` and `key`.

use std::time::Duration;

use tollgate_client::{
    Client,
    v1::{self, Pause, PauseResourceRequest, Resource},
};

use super::{
    super::{Failure, Output, duration},
    condition, json,
};

#[derive(Debug, clap::Args)]
pub struct Pausing {
    /// The resource, such as salesforce/acme.
    name: String,

    /// Only this key of it.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    key: String,

    /// For so long [default: until it is resumed].
    #[arg(long = "for", value_name = "DURATION", value_parser = duration::parse)]
    lasts: Option<Duration>,

    /// Why: denials show it.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

#[derive(Debug, clap::Args)]
pub struct Resumption {
    /// The resource.
    name: String,

    /// Only this key of it, also if an operator paused it.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    key: String,
}

#[derive(Debug, clap::Args)]
pub struct KeyChange {
    /// The resource.
    name: String,

    /// One of its keys.
    key: String,

    /// What becomes of it.
    #[arg(value_enum)]
    state: State,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum State {
    /// Permits take it.
    Active,
    /// No new permit takes it; those that have it finish.
    Draining,
    /// No new permit takes it, and those that have it are not renewed.
    Disabled,
}

pub async fn pause(client: &Client, output: Output, args: Pausing) -> Result<(), Failure> {
    let Pausing { name, key, lasts, reason } = args;
    // What the wire cannot carry is far beyond what the server allows, and it says so.
    let longest = prost_types::Duration { seconds: i64::MAX, nanos: 0 };
    let duration = lasts.map(|lasts| prost_types::Duration::try_from(lasts).unwrap_or(longest));
    let request = PauseResourceRequest { name, key, duration, reason };
    show(output, &client.resources().pause(request).await?)
}

pub async fn resume(client: &Client, output: Output, args: Resumption) -> Result<(), Failure> {
    let resource = client.resources().resume(&args.name, &args.key).await?;
    output.print(|| resumed_text(&resource), || json::resource(&resource))
}

pub async fn key(client: &Client, output: Output, args: KeyChange) -> Result<(), Failure> {
    let state = match args.state {
        State::Active => v1::KeyState::Active,
        State::Draining => v1::KeyState::Draining,
        State::Disabled => v1::KeyState::Disabled,
    };
    show(output, &client.resources().set_key_state(&args.name, &args.key, state).await?)
}

/// What operators ordered about the resource and its keys, and how its vendor is doing; nothing where nothing is to tell.
pub fn lines(resource: &Resource) -> Vec<String> {
    let whole = resource.pause.iter().map(pause_text);
    let keys = resource.key_statuses.iter().map(|status| {
        let state = state_name(status.state());
        let paused = status.pause.iter().map(|pause| format!(", {}", pause_text(pause)));
        format!("key {}: {state}{}", status.key, paused.collect::<String>())
    });
    whole.chain(keys).chain(condition::lines(resource)).collect()
}

pub fn state_name(state: v1::KeyState) -> &'static str {
    match state {
        v1::KeyState::Active => "active",
        v1::KeyState::Draining => "draining",
        v1::KeyState::Disabled => "disabled",
        v1::KeyState::Unspecified => "unknown",
    }
}

fn show(output: Output, resource: &Resource) -> Result<(), Failure> {
    output.print(|| text(resource), || json::resource(resource))
}

fn text(resource: &Resource) -> String {
    match lines(resource) {
        orders if orders.is_empty() => {
            format!("{}: nothing is paused, and all keys are active", resource.name)
        }
        orders => format!("{}\n  {}", resource.name, orders.join("\n  ")),
    }
}

/// With what to do about the pauses that stay: those of what was not named.
fn resumed_text(resource: &Resource) -> String {
    let name = &resource.name;
    let mut lines = lines(resource);
    if lines.is_empty() {
        return format!("{name} is resumed: nothing is held back any more");
    }
    if resource.pause.is_some() {
        lines.push("the resource is still paused: resume it without --key".to_owned());
    }
    let paused = resource.key_statuses.iter().filter(|status| status.pause.is_some());
    lines.extend(paused.map(|status| {
        let key = &status.key;
        format!("key {key} is still paused: resume it with --key {key}")
    }));
    format!("{name}\n  {}", lines.join("\n  "))
}

fn pause_text(pause: &Pause) -> String {
    let lasts = match pause.left {
        Some(_) => format!("paused for {}", duration::wire(pause.left)),
        None => "paused until it is resumed".to_owned(),
    };
    if pause.reason.is_empty() { lasts } else { format!("{lasts} ({})", pause.reason) }
}
