//! A disk that is small enough to be filled.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Its size; far above what a node needs in a few minutes.
const SIZE: &str = "size=256m";

/// A small file system in memory, mounted for as long as this value lives.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts it.
    ///
    /// # Errors
    /// What the machine refuses, as it does without root.
    pub fn mount(at: &Path) -> Result<SmallDisk, String> {
        fs::create_dir_all(at).map_err(|error| error.to_string())?;
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "none"]).arg(at).output();
        match mount {
            Ok(output) if output.status.success() => Ok(SmallDisk(at.to_owned())),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(format!("mount: {error}")),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that is being killed may still have files open. If it fails, it is not there any more.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
