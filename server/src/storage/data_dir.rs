//! A node's directory: made once, for one node of one cluster, used by one process at a time.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::raft::members::{Incarnation, NodeId};

/// The layout that this version writes. A directory of a newer one is refused.
pub const FORMAT: u32 = 1;

const IDENTITY: &str = "identity.toml";
const LOCK: &str = "lock";
/// Empty; there once the log has held something. A log that is empty beside it was lost.
const BEGUN: &str = "begun";

/// Why a directory cannot be used. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It cannot be created, read or written.
    #[error("data_dir {path}: {source}; choose a directory that this user can write", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process uses it.
    #[error("data_dir {path} is in use by another process: stop that one, or choose another data_dir", path = path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// It belongs to a node of another cluster.
    #[error("data_dir {path} belongs to cluster {found:?}, not to {expected:?}: correct the cluster name, or choose another data_dir", path = path.display())]
    ForeignCluster {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// It belongs to another node.
    #[error("data_dir {path} belongs to node {found}, not to node {expected}: correct the node id, or choose another data_dir", path = path.display())]
    ForeignNode {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: NodeId,
        /// Whose it should be.
        expected: NodeId,
    },
    /// A newer version of Tollgate wrote it.
    #[error("data_dir {path} has format {found}, and this version knows formats up to {FORMAT}: run the newer version", path = path.display())]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// It holds files, and none that says whose they are.
    #[error("data_dir {path} is not empty and has no {IDENTITY}: it is no data directory of Tollgate; choose another one", path = path.display())]
    NotOurs {
        /// The directory.
        path: PathBuf,
    },
    /// The file that says whose it is cannot be understood.
    #[error("{path} is damaged: {reason}; restore it, or remove this member and add it under a new id", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Whose a directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's name.
    pub cluster: String,
    /// The node.
    pub node: NodeId,
    /// The random number that this directory was born with.
    pub incarnation: Incarnation,
}

/// A directory that this process alone may use, until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    identity: Identity,
    // Held, not read: the lock ends with the file.
    _lock: File,
}

impl DataDir {
    /// Opens the directory of `node` in `cluster`; creates it (0700) when there is none.
    pub fn open(path: &Path, cluster: &str, node: NodeId) -> Result<DataDir, DataDirError> {
        create_private_dir(path).map_err(io_error(path))?;
        let lock = lock(path)?;
        let identity_path = path.join(IDENTITY);
        let identity = match fs::read_to_string(&identity_path) {
            Ok(text) => IdentityFile::parse(&text, path, &identity_path)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => give_birth(path, cluster, node)?,
            Err(e) => return Err(io_error(&identity_path)(e)),
        };
        if identity.cluster != cluster {
            let (found, expected) = (identity.cluster, cluster.to_owned());
            return Err(DataDirError::ForeignCluster { path: path.into(), found, expected });
        }
        if identity.node != node {
            let found = identity.node;
            return Err(DataDirError::ForeignNode { path: path.into(), found, expected: node });
        }
        Ok(DataDir { path: path.into(), identity, _lock: lock })
    }

    /// Whose it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Where the log is.
    pub fn log_path(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Where snapshots are.
    pub fn snapshots_path(&self) -> PathBuf {
        self.path.join("snapshots")
    }

    /// Whether its log has ever held anything.
    pub fn has_begun(&self) -> bool {
        self.path.join(BEGUN).exists()
    }

    /// Its log holds something: from now on an empty one is a loss.
    pub fn begin(&self) -> Result<(), DataDirError> {
        let begun = self.path.join(BEGUN);
        write_atomically(&begun, &[]).map_err(io_error(&begun))
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Creates a directory that only its owner can enter, and those above it.
pub(super) fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

/// Writes a file that only its owner can read, so that after a crash there is the old one or the new one, whole.
pub(super) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_atomically_by(path, |file| file.write_all(bytes))
}

/// The same, of what `write` writes.
pub(super) fn write_atomically_by(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    write(&mut file)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    // The rename itself is durable only with the directory.
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Whether a node runs on it. Changes nothing.
pub fn is_in_use(path: &Path) -> bool {
    let lock = File::open(path.join(LOCK)).map(|file| file.try_lock());
    matches!(lock, Ok(Err(TryLockError::WouldBlock)))
}

fn lock(path: &Path) -> Result<File, DataDirError> {
    let lock_path = path.join(LOCK);
    let open = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&lock_path);
    let file = open.map_err(io_error(&lock_path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DataDirError::Locked { path: path.into() }),
        Err(TryLockError::Error(e)) => Err(io_error(&lock_path)(e)),
    }
}

fn give_birth(path: &Path, cluster: &str, node: NodeId) -> Result<Identity, DataDirError> {
    for entry in fs::read_dir(path).map_err(io_error(path))? {
        let name = entry.map_err(io_error(path))?.file_name();
        // What a birth that was interrupted leaves behind.
        if name != LOCK && name != "identity.tmp" {
            return Err(DataDirError::NotOurs { path: path.into() });
        }
    }
    let identity = Identity { cluster: cluster.to_owned(), node, incarnation: rand::random() };
    let identity_path = path.join(IDENTITY);
    write_atomically(&identity_path, IdentityFile::print(&identity).as_bytes())
        .map_err(io_error(&identity_path))?;
    Ok(identity)
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    move |source| DataDirError::Io { path: path.into(), source }
}

/// The identity as it is written.
#[derive(Serialize, Deserialize)]
struct IdentityFile {
    format: u32,
    cluster: String,
    node: NodeId,
    // Hex: TOML's integers are signed.
    incarnation: String,
}

/// What is read first: a newer format may have other fields.
#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

impl IdentityFile {
    fn parse(text: &str, dir: &Path, path: &Path) -> Result<Identity, DataDirError> {
        let damaged = |reason: String| DataDirError::Damaged { path: path.into(), reason };
        let FormatOnly { format } = toml::from_str(text).map_err(|e| damaged(e.message().to_owned()))?;
        if format > FORMAT {
            return Err(DataDirError::NewerFormat { path: dir.into(), found: format });
        }
        let file: IdentityFile = toml::from_str(text).map_err(|e| damaged(e.message().to_owned()))?;
        let incarnation = u64::from_str_radix(&file.incarnation, 16)
            .map_err(|e| damaged(format!("incarnation {:?}: {e}", file.incarnation)))?;
        Ok(Identity { cluster: file.cluster, node: file.node, incarnation })
    }

    fn print(identity: &Identity) -> String {
        let Identity { cluster, node, incarnation } = identity;
        format!(
            "# Whose directory this is. Written once; do not edit, do not copy to another node.\n\
             format = {FORMAT}\ncluster = {}\nnode = {node}\nincarnation = \"{incarnation:016x}\"\n",
            toml::Value::String(cluster.clone()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_incarnation() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node-1");
        let born = DataDir::open(&path, "test \"quoted\"", 1).unwrap().identity().clone();
        let found = DataDir::open(&path, "test \"quoted\"", 1).unwrap().identity().clone();
        assert_eq!(born, found);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(path.join(IDENTITY)).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_foreign_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDir::open(dir.path(), "ours", 1).unwrap());
        let refused = |cluster, node| DataDir::open(dir.path(), cluster, node).unwrap_err();
        assert!(matches!(refused("theirs", 1), DataDirError::ForeignCluster { .. }));
        assert!(matches!(refused("ours", 2), DataDirError::ForeignNode { found: 1, expected: 2, .. }));
    }

    #[test]
    fn two_processes_cannot_share_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let _open = DataDir::open(dir.path(), "c", 1).unwrap();
        assert!(matches!(DataDir::open(dir.path(), "c", 1), Err(DataDirError::Locked { .. })));
    }

    #[test]
    fn files_of_somebody_else_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.tex"), "x").unwrap();
        assert!(matches!(DataDir::open(dir.path(), "c", 1), Err(DataDirError::NotOurs { .. })));
    }

    #[test]
    fn a_newer_format_is_refused_whatever_else_it_says() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(IDENTITY), "format = 2\nshape = \"unknown\"\n").unwrap();
        assert!(matches!(DataDir::open(dir.path(), "c", 1), Err(DataDirError::NewerFormat { found: 2, .. })));
        fs::write(dir.path().join(IDENTITY), "format = 1\ncluster = 3\n").unwrap();
        assert!(matches!(DataDir::open(dir.path(), "c", 1), Err(DataDirError::Damaged { .. })));
    }

    #[test]
    fn a_path_that_is_a_file_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = DataDir::open(file.path(), "c", 1).unwrap_err();
        assert!(error.to_string().contains("data_dir"), "{error}");
    }
}
