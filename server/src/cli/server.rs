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
    if !config.huge_pages {
        do_without_huge_pages()?;
    }
    telemetry::init(&config.log).map_err(|error| Failure::new(error.to_string()))?;
    server::serve(config).await.map_err(|error| match &error {
        ServerError::Preset(_) => Failure::with(Code::Usage, error.to_string()),
        _ => Failure::new(error.to_string()),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What is allocated from now on is in small pages, so that of a buffer that is hardly used hardly anything is in memory.
#[cfg(target_os = "linux")]
fn do_without_huge_pages() -> Result<(), Failure> {
    rustix::thread::disable_transparent_huge_pages(true).map_err(|error| {
        Failure::new(format!("huge_pages = false: the system refuses to do without: {error}"))
    })
}

/// Others decide for themselves.
#[cfg(not(target_os = "linux"))]
fn do_without_huge_pages() -> Result<(), Failure> {
    Ok(())
}
