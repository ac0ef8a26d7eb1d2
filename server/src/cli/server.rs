//! `tollgate server`.

use std::process::ExitCode;

use rustix::{fs::Mode, process::umask};

use super::{Failure, failure::Code};
use crate::{
    config::{Config, Flags},
    server::{self, ServerError},
    telemetry,
};

pub async fn run(flags: Flags) -> Result<ExitCode, Failure> {
    // Before anything is created: the log's files are made by a library, which asks for 0644.
    umask(Mode::RWXG | Mode::RWXO);
    let config = Config::load(flags).map_err(|error| Failure::with(Code::Usage, error.to_string()))?;
    telemetry::init(&config.log).map_err(|error| Failure::new(error.to_string()))?;
    server::serve(config).await.map_err(|error| match &error {
        ServerError::Preset(_) => Failure::with(Code::Usage, error.to_string()),
        _ => Failure::new(error.to_string()),
    })?;
    Ok(ExitCode::SUCCESS)
}
