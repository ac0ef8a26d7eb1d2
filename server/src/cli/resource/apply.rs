//! `tollgate resource apply`: makes the cluster's resources what a file says. What is that way already is left alone, so
//! that it can be run again at any time, such as after a failure in the middle.

use std::{
    fs, io,
    path::{Path, PathBuf},
    slice,
};

use serde_json::{Value, json};
use tollgate_client::{Client, Error, v1::Resource};
use tollgate_limiter::StoredResource;

use super::{
    super::{Failure, Output, failure::Code, preset::Own},
    diff,
};
use crate::{
    grpc::convert::{self, definition::definition},
    preset::Presets,
    resource_file::{self, FaultyFile},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file (TOML); `-` reads standard input.
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,

    /// Show what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    own: Own,
}

/// What is to be done about one resource.
#[derive(Debug)]
pub enum Plan {
    /// There is none of that name.
    Create(Resource),
    /// It is defined otherwise.
    Update {
        /// As it is.
        from: Box<Resource>,
        /// As it shall be.
        to: Resource,
    },
    /// It is as it shall be.
    Leave(Resource),
}

pub async fn run(client: &Client, output: Output, args: Args) -> Result<(), Failure> {
    let wanted = read(&args.file, &args.own.presets()?)?;
    let mut plans = Vec::with_capacity(wanted.len());
    for resource in wanted {
        plans.push(Plan::make(client, resource).await?);
    }
    check(&plans)?;
    if !args.dry_run {
        for plan in &plans {
            plan.carry_out(client).await.map_err(|error| {
                Failure::from(error)
                    .about(&plan.resource().name)
                    .advise("Run it again when this is mended: what is done already stays done.")
            })?;
        }
    }
    output.print(
        || plans.iter().map(|plan| plan.text(args.dry_run)).collect::<Vec<_>>().join("\n"),
        || json!({ "dry_run": args.dry_run, "resources": plans.iter().map(Plan::json).collect::<Vec<_>>() }),
    )
}

/// So that a change the cluster would refuse leaves the others undone, and a dry run tells of it.
fn check(plans: &[Plan]) -> Result<(), Failure> {
    let refused: Vec<_> = plans.iter().flat_map(Plan::refusals).collect();
    if refused.is_empty() {
        return Ok(());
    }
    Err(Failure::with(Code::Usage, refused.join("\n  ")).advise("Nothing was changed."))
}

fn read(path: &Path, presets: &Presets) -> Result<Vec<Resource>, Failure> {
    let text =
        if path.as_os_str() == "-" { io::read_to_string(io::stdin()) } else { fs::read_to_string(path) };
    let text = text.map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))?;
    parse(&text, presets).map_err(|faulty| {
        Failure::with(Code::Usage, format!("{}: {faulty}", path.display())).advise("Nothing was changed.")
    })
}

/// Reads and checks a whole file, so that a fault in the last resource does not leave the first ones changed. Defaults
/// are spelt out, so that the resources can be compared with those of a cluster.
pub fn parse(text: &str, presets: &Presets) -> Result<Vec<Resource>, FaultyFile> {
    Ok(resource_file::read_with(text, presets)?.into_iter().map(normalise).collect())
}

/// The definition with all its defaults spelt out. One that this program does not understand, because a newer server
/// sent it, stays as it came.
fn normalise(resource: Resource) -> Resource {
    let generation = resource.generation;
    match definition(resource.clone()) {
        Ok(resource) => convert::resource::resource(StoredResource::new(resource, generation)),
        Err(_) => resource,
    }
}

impl Plan {
    /// Compares what is wanted (normalised) with what there is.
    pub async fn make(client: &Client, wanted: Resource) -> Result<Plan, Error> {
        let current = match client.resources().get(&wanted.name).await {
            Ok(current) => current,
            Err(Error::NotFound { .. }) => return Ok(Plan::Create(wanted)),
            Err(error) => return Err(error),
        };
        let wanted = Resource { generation: current.generation, ..wanted };
        let from = normalise(current);
        Ok(if from == wanted {
            Plan::Leave(wanted)
        } else {
            Plan::Update { from: Box::new(from), to: wanted }
        })
    }

    /// Does it, unless somebody else changed the resource since it was read.
    pub async fn carry_out(&self, client: &Client) -> Result<(), Error> {
        match self {
            Plan::Create(resource) => client.resources().create(resource.clone()).await.map(drop),
            Plan::Update { to, .. } => client.resources().update(to.clone()).await.map(drop),
            Plan::Leave(_) => Ok(()),
        }
    }

    /// Does it if it is a creation.
    pub async fn create(&self, client: &Client) -> Result<(), Error> {
        match self {
            Plan::Create(_) => self.carry_out(client).await,
            Plan::Update { .. } | Plan::Leave(_) => Ok(()),
        }
    }

    /// Why the cluster would refuse it. Definitions that this program does not understand are the cluster's to judge.
    fn refusals(&self) -> Vec<String> {
        let Plan::Update { from, to } = self else { return Vec::new() };
        let (Ok(from), Ok(changed)) = (definition(Resource::clone(from)), definition(to.clone())) else {
            return Vec::new();
        };
        let violations = from.check_change(&changed).err().unwrap_or_default();
        violations.iter().map(|violation| format!("{} {violation}", to.name)).collect()
    }

    fn resource(&self) -> &Resource {
        match self {
            Plan::Create(resource) | Plan::Leave(resource) | Plan::Update { to: resource, .. } => resource,
        }
    }

    /// Lines that go (`-`), come (`+`) and stay (two spaces).
    fn changes(&self) -> Vec<String> {
        match self {
            Plan::Create(resource) => diff::lines("", &toml(resource)),
            Plan::Update { from, to } => diff::lines(&toml(from), &toml(to)),
            Plan::Leave(_) => Vec::new(),
        }
    }

    fn text(&self, dry_run: bool) -> String {
        let verb = match (self, dry_run) {
            (Plan::Create(_), true) => "would create",
            (Plan::Create(_), false) => "created",
            (Plan::Update { .. }, true) => "would update",
            (Plan::Update { .. }, false) => "updated",
            (Plan::Leave(_), _) => "unchanged",
        };
        let mut lines = vec![format!("{verb} {}", self.resource().name)];
        // A new resource in full is in the file already.
        if dry_run || matches!(self, Plan::Update { .. }) {
            lines.extend(self.changes().into_iter().map(|line| format!("  {line}")));
        }
        lines.join("\n")
    }

    fn json(&self) -> Value {
        let change = match self {
            Plan::Create(_) => "create",
            Plan::Update { .. } => "update",
            Plan::Leave(_) => "unchanged",
        };
        json!({ "name": self.resource().name, "change": change, "diff": self.changes() })
    }
}

fn toml(resource: &Resource) -> String {
    resource_file::write(slice::from_ref(resource))
}
