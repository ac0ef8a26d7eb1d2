//! `tollgate preset`: what this program knows about vendors. Needs no cluster.

mod json;
mod reading;
mod text;

use std::{fs, path::PathBuf, process::ExitCode};

use serde_json::json;

use super::{Failure, Output, failure::Code};
use crate::preset::{self, Plan, Preset, Presets};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,

    /// The form of the answer.
    #[arg(long, global = true, value_name = "FORM", value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Lists the vendors and their plans.
    List {
        #[command(flatten)]
        own: Own,
    },
    /// Shows what a preset stands for: the resource, the operations and what the vendor's answers mean.
    Show {
        /// Its name, such as hubspot:professional; without a plan, the lowest that is paid for.
        name: String,
        #[command(flatten)]
        own: Own,
    },
    /// Tells what an answer of a vendor says about its limits, to try a preset on a real one.
    Read(reading::Args),
    /// Checks a file of one's own, without using it.
    Check {
        /// The file (TOML), in the form of those in server/presets.
        file: PathBuf,
    },
}

/// Presets of one's own.
#[derive(Debug, clap::Args)]
pub struct Own {
    /// A file with a preset of one's own; it takes the place of the one that this program has of that vendor. Can be
    /// repeated.
    #[arg(long = "preset-file", value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub fn run(args: Args) -> Result<ExitCode, Failure> {
    match args.command {
        Command::List { own } => {
            let presets = own.presets()?;
            args.output.print(|| text::list(&presets), || json::list(&presets))?;
        }
        Command::Show { name, own } => {
            let presets = own.presets()?;
            let (preset, plan) = select(&presets, &name)?;
            args.output.print(|| text::show(preset, plan), || json::show(preset, plan))?;
        }
        Command::Read(reading) => reading::run(args.output, reading)?,
        Command::Check { file } => {
            let preset = read(&file)?;
            let (vendor, plans) = (&preset.vendor, preset.plans.len());
            args.output.print(
                || {
                    let s = if plans == 1 { "" } else { "s" };
                    format!("{} is valid: {vendor}, {plans} plan{s}", file.display())
                },
                || json!({ "vendor": vendor, "plans": plans }),
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn select<'p>(presets: &'p Presets, name: &str) -> Result<(&'p Preset, &'p Plan), Failure> {
    presets.select(name).map_err(|problem| {
        Failure::with(Code::NotFound, format!("preset {problem}"))
            .advise("`tollgate preset list` shows those that there are.")
    })
}

impl Own {
    /// Those of this program and one's own.
    pub fn presets(&self) -> Result<Presets, Failure> {
        let mut presets = Presets::embedded().clone();
        for file in &self.files {
            presets.add(read(file)?);
        }
        Ok(presets)
    }
}

fn read(file: &PathBuf) -> Result<Preset, Failure> {
    let text = fs::read_to_string(file);
    let text = text.map_err(|error| Failure::new(format!("cannot read {}: {error}", file.display())))?;
    preset::read(&text).map_err(|faulty| Failure::with(Code::Usage, format!("{}: {faulty}", file.display())))
}
