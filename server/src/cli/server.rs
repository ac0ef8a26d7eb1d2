//! `tollgate server`.

use std::process::ExitCode;

use super::{Failure, failure::Code};
use crate::{
    config::{Config, Flags},
    server, telemetry,
};

pub async fn run(flags: Flags) -> Result<ExitCode, Failure> {
    let config = Config::load(flags).map_err(|error| Failure::with(Code::Usage, error.to_string()))?;
    telemetry::init(&config.log).map_err(|error| Failure::new(error.to_string()))?;
    server::serve(config).await.map_err(|error| Failure::new(error.to_string()))?;
    Ok(ExitCode::SUCCESS)
}
