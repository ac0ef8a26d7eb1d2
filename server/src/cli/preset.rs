//! `tollgate preset`: what this program knows about vendors. Needs no cluster.

mod json;
mod reading;
mod text;

use std::{
    path::{self, PathBuf},
    process::ExitCode,
};

use serde_json::json;

use super::{Failure, Output, failure::Code};
use crate::preset::{self, Loaded, Plan, Preset, PresetFileError, Presets};

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
        /// The vendor's whole file as it is, to begin one of one's own with.
        #[arg(long)]
        toml: bool,
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
    /// A file with a preset of one's own, or a directory of them; it takes the place of the one that this program has of that
    /// vendor. Can be repeated.
    #[arg(long = "preset-file", value_name = "PATH")]
    files: Vec<PathBuf>,
}

/// No mistake where bodies are not JSON, or have no field with a code; else such a `limited` never applies.
const NO_CODE_AT: &str = "
  without `code_at` no code is read from bodies: `limited` with a `code` applies only where clients name it \
                          (`error_code`)";

pub fn run(args: Args) -> Result<ExitCode, Failure> {
    match args.command {
        Command::List { own } => {
            let presets = own.presets()?;
            args.output.print(|| text::list(&presets), || json::list(&presets))?;
        }
        Command::Show { name, toml, own } => {
            let presets = own.presets()?;
            let (preset, plan) = select(&presets, &name)?;
            match toml {
                true => args.output.print(|| preset.text.clone(), || json!({ "toml": preset.text }))?,
                false => args.output.print(|| text::show(preset, plan), || json::show(preset, plan))?,
            }
        }
        Command::Read(reading) => reading::run(args.output, reading)?,
        Command::Check { file } => {
            let preset = preset::read_file(&file).map_err(failure)?;
            let (vendor, plans) = (&preset.vendor, preset.plans.len());
            args.output.print(
                || {
                    let s = if plans == 1 { "" } else { "s" };
                    let valid = format!("{} is valid: {vendor}, {plans} plan{s}", file.display());
                    if preset.needs_codes_of_clients() { valid + NO_CODE_AT } else { valid }
                },
                || {
                    let needs_codes = preset.needs_codes_of_clients();
                    json!({ "vendor": vendor, "plans": plans, "needs_codes_of_clients": needs_codes })
                },
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn select<'p>(presets: &'p Presets, name: &str) -> Result<(&'p Preset, &'p Plan), Failure> {
    presets.select(name).map_err(|problem| {
        Failure::with(Code::NotFound, format!("preset {problem}"))
            .advise("`tollgate preset list` shows them; for one of your own add --preset-file FILE.")
    })
}

impl Own {
    /// Those of this program and one's own.
    pub fn presets(&self) -> Result<Presets, Failure> {
        Ok(self.load()?.presets)
    }

    /// The files as absolute paths, if all of them are valid.
    pub fn absolute(&self) -> Result<Vec<PathBuf>, Failure> {
        self.load()?;
        let absolute = |file: &PathBuf| path::absolute(file).map_err(|error| Failure::new(error.to_string()));
        self.files.iter().map(absolute).collect()
    }

    fn load(&self) -> Result<Loaded, Failure> {
        preset::load(&self.files).map_err(failure)
    }
}

fn failure(error: PresetFileError) -> Failure {
    let code = match error {
        PresetFileError::Unreadable { .. } => Code::Error,
        PresetFileError::Faulty { .. } | PresetFileError::Empty { .. } | PresetFileError::Twice { .. } => {
            Code::Usage
        }
    };
    Failure::with(code, error.to_string())
}
