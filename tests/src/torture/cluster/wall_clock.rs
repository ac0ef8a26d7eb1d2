//! A wall clock that can be set, which one process sees instead of the machine's: by libfaketime. Its monotonic clock is
//! that of the machine.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::torture::binary;

/// By how much the clock is set to see whether anything notices, in seconds.
const TRIAL: i64 = 3_600;

/// Shows the truth until it is set.
#[derive(Clone, Debug)]
pub struct WallClock {
    library: PathBuf,
    /// With what it shows, relative to the truth.
    file: PathBuf,
}

impl WallClock {
    /// One that is kept in a file of this directory.
    ///
    /// # Errors
    /// Why there is none: no library, or one without effect.
    pub fn new(directory: &Path) -> Result<WallClock, String> {
        let clock = WallClock { library: binary::faketime()?, file: directory.join("clock") };
        let ahead = clock.tried().map_err(|error| format!("libfaketime cannot be tried: {error}"))?;
        match (TRIAL / 2..TRIAL * 2).contains(&ahead) {
            true => Ok(clock),
            false => Err(format!("{} has no effect", clock.library.display())),
        }
    }

    /// From now on it is off by so many seconds.
    pub fn set(&self, offset_s: i64) -> io::Result<()> {
        let written = self.file.with_extension("new");
        fs::write(&written, format!("{offset_s:+}s\n"))?;
        fs::rename(written, &self.file)
    }

    /// Makes a process go by it.
    pub fn preload(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("FAKETIME_TIMESTAMP_FILE", &self.file);
        // The last has a name of before and one of today. Without it monotonic clocks would jump, too.
        let settings = ["FAKETIME_NO_CACHE", "DONT_FAKE_MONOTONIC", "FAKETIME_DONT_FAKE_MONOTONIC"];
        command.envs(settings.map(|name| (name, "1")));
    }

    /// Whether a process, by its number, has loaded the library: one that was linked statically has not.
    pub fn is_seen_by(&self, process: u32) -> bool {
        let library = self.library.file_name().unwrap_or_default().to_string_lossy();
        fs::read_to_string(format!("/proc/{process}/maps")).is_ok_and(|maps| maps.contains(&*library))
    }

    /// By how many seconds a process that goes by it is ahead of one that does not, when it should be by [`TRIAL`].
    fn tried(&self) -> io::Result<i64> {
        self.set(TRIAL)?;
        let mut with = Command::new("date");
        self.preload(&mut with);
        let ahead = seconds(&mut with)? - seconds(&mut Command::new("date"))?;
        self.set(0)?;
        Ok(ahead)
    }
}

/// What `date` says of the time.
fn seconds(date: &mut Command) -> io::Result<i64> {
    let output = date.arg("+%s").stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    said.trim().parse().map_err(|_| io::Error::other(format!("date says {said:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_without_effect_is_no_clock() {
        let directory = tempfile::tempdir().unwrap();
        let (library, file) = (directory.path().join("none.so"), directory.path().join("clock"));
        // The loader says that it is not there, and goes on.
        assert_eq!(WallClock { library, file }.tried().unwrap() / TRIAL, 0);
    }
}
