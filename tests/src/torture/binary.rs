//! Where the programs are that are run.

use std::{env, path::PathBuf};

/// Names the server to run, where it is not the one that was built together with this program.
pub const SERVER_VARIABLE: &str = "TOLLGATE";

/// Names libfaketime, where it is not in one of the usual places.
const FAKETIME_VARIABLE: &str = "LIBFAKETIME";

/// Where distributions put libfaketime.
const FAKETIME_PLACES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib64/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
];

/// The server: what [`SERVER_VARIABLE`] names, else `tollgate` in the directory that cargo has put this program in.
///
/// # Errors
/// What to do when there is none.
pub fn server() -> Result<PathBuf, String> {
    if let Some(named) = env::var_os(SERVER_VARIABLE) {
        return Ok(named.into());
    }
    let this = env::current_exe().map_err(|error| error.to_string())?;
    // Tests are in `deps`, one below the binaries.
    let found = this.ancestors().skip(1).take(2).map(|directory| directory.join("tollgate"));
    found.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        format!("there is no server beside {}: run `cargo build`, or set {SERVER_VARIABLE}", this.display())
    })
}

/// A program of the machine, if it has it.
pub fn tool(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    // Administrators' tools are not always on the path of those who could use them.
    let directories = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    directories.map(|directory: PathBuf| directory.join(name)).find(|path| path.is_file())
}

/// The library that lets a process see another wall clock: what [`FAKETIME_VARIABLE`] names, else what lies in one of the
/// usual places.
///
/// # Errors
/// Where it was looked for.
pub fn faketime() -> Result<PathBuf, String> {
    library(env::var_os(FAKETIME_VARIABLE).map(PathBuf::from))
}

/// Whoever names one wants that one, and no other.
fn library(named: Option<PathBuf>) -> Result<PathBuf, String> {
    match named {
        Some(named) if named.is_file() => Ok(named),
        Some(named) => Err(format!("{FAKETIME_VARIABLE} names {}, which is no file", named.display())),
        None => FAKETIME_PLACES
            .map(PathBuf::from)
            .into_iter()
            .find(|path| path.is_file())
            .ok_or_else(|| format!("there is no libfaketime; {FAKETIME_VARIABLE} may name it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_named_and_not_there_is_not_replaced_by_another() {
        let problem = library(Some("/nowhere/libfaketime.so.1".into())).unwrap_err();
        assert_eq!(problem, "LIBFAKETIME names /nowhere/libfaketime.so.1, which is no file");
        let this = env::current_exe().unwrap();
        assert_eq!(library(Some(this.clone())), Ok(this));
    }
}
