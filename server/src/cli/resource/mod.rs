//! `tollgate resource`.

mod apply;
mod availability;
pub(super) mod condition;
mod diff;
pub(super) mod json;
mod shares;
mod state;
mod usage;

use std::{process::ExitCode, slice};

use serde_json::json;
use tollgate_client::{Client, v1::Resource};

pub use apply::{Plan, parse};

use super::{
    Failure, Output,
    table::{table, thousands},
};
use crate::resource_file;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Shows a resource's definition, in the form that `apply` takes.
    Get {
        /// Its name, such as salesforce/acme.
        name: String,
    },
    /// Lists the resources and how they are, those that are worst off first.
    List {
        /// Only names that begin with this.
        #[arg(long, default_value = "", hide_default_value = true)]
        prefix: String,
    },
    /// Creates and updates resources as a file defines them; what is not in the file stays as it is.
    Apply(apply::Args),
    /// Removes a resource, the state of its limits and its permits. To create it again is the explicit reset.
    Delete {
        /// Its name.
        name: String,
        /// Only if it is still of this generation.
        #[arg(long, default_value_t = 0, hide_default_value = true)]
        generation: u64,
    },
    /// Grants nothing on a resource, or with one of its keys, for a while. What was granted before goes on.
    Pause(availability::Pausing),
    /// Ends the pause of a resource or of one of its keys, and what came of the vendor's answers: waits, circuits, paces, tightened
    /// limits. Without a key of all keys, too: of these only the pauses that operators ordered stay.
    Resume(availability::Resumption),
    /// Takes a key out of use, or back into it.
    Key(availability::KeyChange),
    /// Shows what is used and what is left of each limit, who holds which slot, what is paused, and how the vendor is doing.
    Usage(usage::Args),
}

pub async fn run(client: &Client, output: Output, command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Get { name } => {
            let resource = client.resources().get(&name).await?;
            output.print(|| definition_text(&resource), || json::resource(&resource))?;
        }
        Command::List { prefix } => {
            let resources = client.resources().list(&prefix).await?;
            let each = || resources.iter().map(json::resource).collect::<Vec<_>>();
            output.print(|| list_text(&resources), || json!({ "resources": each() }))?;
        }
        Command::Apply(args) => apply::run(client, output, args).await?,
        Command::Delete { name, generation } => {
            client.resources().delete(&name, generation).await?;
            output.print(|| format!("deleted {name}"), || json!({ "deleted": name }))?;
        }
        Command::Pause(args) => availability::pause(client, output, args).await?,
        Command::Resume(args) => availability::resume(client, output, args).await?,
        Command::Key(args) => availability::key(client, output, args).await?,
        Command::Usage(args) => usage::run(client, output, args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn definition_text(resource: &Resource) -> String {
    let definition = resource_file::write(slice::from_ref(resource));
    let orders: String =
        availability::lines(resource).into_iter().map(|line| format!("# {line}\n")).collect();
    format!("# generation {}\n{orders}{definition}", resource.generation)
}

fn list_text(resources: &[Resource]) -> String {
    if resources.is_empty() {
        return "no resources; create some with `tollgate resource apply -f FILE`".to_owned();
    }
    let mut states: Vec<_> = resources.iter().map(|resource| (state::state(resource), resource)).collect();
    // Of the same grade by name, as they come.
    states.sort_by_key(|((grade, _), _)| *grade);
    let rows: Vec<_> = states
        .into_iter()
        .map(|((_, state), resource)| {
            let limits: Vec<_> = resource.limits.iter().map(|limit| limit.name.as_str()).collect();
            [
                resource.name.clone(),
                state,
                thousands(resource.generation),
                limits.join(", "),
                resource.description.clone(),
            ]
        })
        .collect();
    table(["RESOURCE", "STATE", "GENERATION", "LIMITS", "DESCRIPTION"], &rows)
}
