//! Presets of one's own: the files that a node's `presets` or a command's `--preset-file` name.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::{FaultyPreset, Preset, Presets, read};

/// The presets of this program, with those of users beside them and in their places.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// All of them.
    pub presets: Presets,
    /// Where those of users are from, in the order in which they were named.
    pub files: Vec<PresetFile>,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresetFile {
    /// Where it is.
    pub path: PathBuf,
    /// Whose preset it is.
    pub vendor: String,
    /// This program has one of that vendor too, which does not count any more.
    pub replaces_embedded: bool,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PresetFileError {
    /// Neither a file nor a directory that can be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A directory without presets: probably another one is meant.
    #[error("{} holds no .toml file", path.display())]
    Empty {
        /// Which.
        path: PathBuf,
    },
    /// It would not pass `tollgate preset check`.
    #[error("{}: {faulty}", path.display())]
    Faulty {
        /// Which.
        path: PathBuf,
        /// All that is wrong, each with its line and key.
        faulty: FaultyPreset,
    },
    /// Which of two files of one vendor is meant cannot be told.
    #[error("{}: vendor: `{vendor}` is that of {} already", path.display(), other.display())]
    Twice {
        /// The second of them.
        path: PathBuf,
        /// Whose.
        vendor: String,
        /// The first.
        other: PathBuf,
    },
}

/// Reads files, and of directories all files in them whose names end with `.toml`.
///
/// # Errors
///
/// The first file that cannot be read, is no valid preset, or is of a vendor that another one is of; or a directory without any.
pub fn load(paths: &[PathBuf]) -> Result<Loaded, PresetFileError> {
    let embedded = Presets::embedded();
    let mut loaded = Loaded { presets: embedded.clone(), files: Vec::new() };
    let mut seen: BTreeMap<String, PathBuf> = BTreeMap::new();
    for path in paths {
        for path in files_at(path)? {
            let preset = read_file(&path)?;
            let vendor = preset.vendor.clone();
            if let Some(other) = seen.insert(vendor.clone(), path.clone()) {
                return Err(PresetFileError::Twice { path, vendor, other });
            }
            let replaces_embedded = embedded.select(&vendor).is_ok();
            loaded.files.push(PresetFile { path, vendor, replaces_embedded });
            loaded.presets.add(preset);
        }
    }
    Ok(loaded)
}

/// Reads one file.
///
/// # Errors
///
/// It cannot be read, or is no valid preset.
pub fn read_file(path: &Path) -> Result<Preset, PresetFileError> {
    let text = fs::read_to_string(path).map_err(|error| unreadable(path, error))?;
    read(&text).map_err(|faulty| PresetFileError::Faulty { path: path.to_owned(), faulty })
}

/// Sorted by name, so that every start reads and tells the same.
fn files_at(path: &Path) -> Result<Vec<PathBuf>, PresetFileError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).map_err(|error| unreadable(path, error))?;
    let files = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut files = files.collect::<io::Result<Vec<_>>>().map_err(|error| unreadable(path, error))?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    if files.is_empty() {
        return Err(PresetFileError::Empty { path: path.to_owned() });
    }
    files.sort();
    Ok(files)
}

fn unreadable(path: &Path, error: io::Error) -> PresetFileError {
    PresetFileError::Unreadable { path: path.to_owned(), error }
}
