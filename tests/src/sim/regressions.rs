//! Scenarios that failed once, in `tests/regressions`: one JSON file each, shortened, and named after what it broke. They
//! are values, not seeds: their faults and clients go on meaning the same when seeds come to mean something else. What is drawn on
//! the way may not, so each bug has a test of its own besides.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::scenario::Scenario;

/// Where they are.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions")
}

/// Keeps a scenario. Returns its file.
pub fn keep(scenario: &Scenario, check: &str) -> io::Result<PathBuf> {
    let path = directory().join(format!("{}-{}.json", check.to_lowercase(), scenario.seed));
    fs::create_dir_all(directory())?;
    fs::write(&path, serde_json::to_string_pretty(scenario)? + "\n")?;
    Ok(path)
}

/// All of them, by name.
pub fn all() -> io::Result<Vec<(String, Scenario)>> {
    let mut scenarios = Vec::new();
    for file in fs::read_dir(directory())? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            scenarios.push((path.display().to_string(), load(&path)?));
        }
    }
    scenarios.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(scenarios)
}

/// One of them.
pub fn load(path: &Path) -> io::Result<Scenario> {
    Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
}
