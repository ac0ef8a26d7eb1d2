//! Snapshots on the disk: one file each, whole or not there, with a checksum.
//!
//! Layout: eight bytes that say what it is, the CRC-32 of the rest (big endian), the rest: an encoded
//! [`crate::raft::machine::Machine`]. The same bytes travel to a follower that is too far behind for the log.

use std::{
    fs::{self, File},
    io::{self, Seek, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use crc32fast::Hasher;
use minicbor::Encode;

use crate::raft::fatal::Fatal;

use super::data_dir::{create_private_dir, write_atomically, write_atomically_by};

const MAGIC: &[u8; 8] = b"TOLLSNP1";
const HEADER_BYTES: usize = MAGIC.len() + 4;

/// What is written of a snapshot at a time, where others write beside it.
const PIECE_BYTES: usize = 256 << 10;

/// Puts the header before an encoded machine.
pub fn seal(body: &[u8]) -> Bytes {
    [&header(crc32fast::hash(body)), body].concat().into()
}

fn header(crc: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let (magic, rest) = header.split_at_mut(MAGIC.len());
    magic.copy_from_slice(MAGIC);
    rest.copy_from_slice(&crc.to_be_bytes());
    header
}

/// Checks the header, and returns the encoded machine behind it.
pub fn open(sealed: &[u8]) -> Result<&[u8], String> {
    let Some((header, body)) = sealed.split_at_checked(HEADER_BYTES) else {
        return Err(format!("it is only {} bytes long", sealed.len()));
    };
    let (magic, crc) = header.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err("it is not a snapshot of Tollgate, or of a newer version".to_owned());
    }
    if crc != crc32fast::hash(body).to_be_bytes() {
        return Err("its checksum does not match its content".to_owned());
    }
    Ok(body)
}

/// The directory of the snapshots.
#[derive(Clone, Debug)]
pub struct SnapshotFiles {
    path: PathBuf,
}

impl SnapshotFiles {
    /// The snapshots in `path`, which is created when it does not exist. What an interrupted write left behind goes.
    pub fn new(path: PathBuf) -> Result<SnapshotFiles, Fatal> {
        create_private_dir(&path)
            .and_then(|()| remove_interrupted(&path))
            .map_err(|source| Fatal::SnapshotWrite { path: path.clone(), source })?;
        Ok(SnapshotFiles { path })
    }

    /// The file of the snapshot that ends at entry `index`.
    pub fn path(&self, index: u64) -> PathBuf {
        self.path.join(format!("{index:020}.snapshot"))
    }

    /// Writes a sealed snapshot; when this returns it survives a crash.
    pub fn save(&self, index: u64, sealed: &[u8]) -> Result<(), Fatal> {
        let path = self.path(index);
        write_atomically(&path, sealed).map_err(|source| Fatal::SnapshotWrite { path, source })
    }

    /// Encodes a machine into the file and seals it, piece by piece, each durable before a rest and the next: whoever syncs a log on
    /// the same file system meanwhile has one piece to wait for. When this returns it survives a crash.
    pub fn save_with_rests(
        &self,
        index: u64,
        machine: &impl Encode<()>,
        rest: impl FnMut(),
    ) -> Result<(), Fatal> {
        let path = self.path(index);
        let write = |file: &mut File| {
            file.write_all(&[0; HEADER_BYTES])?;
            let mut body = Body { file, crc: Hasher::new(), piece: Vec::with_capacity(PIECE_BYTES), rest };
            minicbor::encode(machine, &mut body).map_err(io::Error::other)?;
            let crc = body.end()?;
            file.rewind()?;
            file.write_all(&header(crc))
        };
        write_atomically_by(&path, write).map_err(|source| Fatal::SnapshotWrite { path, source })
    }

    /// Reads and checks a snapshot.
    pub fn load(&self, index: u64) -> Result<Bytes, Fatal> {
        let path = self.path(index);
        let damaged = |reason| Fatal::SnapshotRead { path: path.clone(), reason };
        let sealed = fs::read(&path).map_err(|e| damaged(e.to_string()))?;
        open(&sealed).map_err(damaged)?;
        Ok(sealed.into())
    }

    /// Deletes all files that are older than the snapshot at `index`. Younger ones may be about to be recorded.
    pub fn retain(&self, index: u64) -> Result<(), Fatal> {
        self.remove_older(&self.path(index))
            .map_err(|source| Fatal::SnapshotWrite { path: self.path.clone(), source })
    }

    fn remove_older(&self, kept: &Path) -> io::Result<()> {
        for file in fs::read_dir(&self.path)? {
            let path = file?.path();
            // The names sort as their indexes do.
            if path.extension().is_some_and(|e| e == "snapshot") && *path < *kept {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// What follows the header, on its way into the file.
struct Body<'a, R> {
    file: &'a mut File,
    crc: Hasher,
    piece: Vec<u8>,
    rest: R,
}

impl<R: FnMut()> Body<'_, R> {
    fn write_piece(&mut self) -> io::Result<()> {
        self.crc.update(&self.piece);
        self.file.write_all(&self.piece)?;
        self.piece.clear();
        self.file.sync_data()?;
        (self.rest)();
        Ok(())
    }

    /// The checksum of all of it.
    fn end(mut self) -> io::Result<u32> {
        self.write_piece()?;
        Ok(self.crc.finalize())
    }
}

impl<R: FnMut()> minicbor::encode::Write for Body<'_, R> {
    type Error = io::Error;

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.piece.len() == PIECE_BYTES {
                self.write_piece()?;
            }
            let (now, later) = bytes.split_at((PIECE_BYTES - self.piece.len()).min(bytes.len()));
            self.piece.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }
}

fn remove_interrupted(path: &Path) -> io::Result<()> {
    for file in fs::read_dir(path)? {
        let path = file?.path();
        if path.extension().is_some_and(|e| e == "tmp") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use minicbor::bytes::ByteVec;

    use super::*;

    fn files(dir: &tempfile::TempDir) -> SnapshotFiles {
        SnapshotFiles::new(dir.path().join("snapshots")).unwrap()
    }

    #[test]
    fn what_an_interrupted_write_left_behind_goes_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        files(&dir).save(7, &seal(b"state")).unwrap();
        let interrupted = files(&dir).path(9).with_extension("tmp");
        fs::write(&interrupted, b"half").unwrap();
        assert!(files(&dir).load(7).is_ok());
        assert!(!interrupted.exists());
    }

    #[test]
    fn what_was_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        files(&dir).save(7, &seal(b"state")).unwrap();
        assert_eq!(open(&files(&dir).load(7).unwrap()), Ok(&b"state"[..]));
    }

    #[test]
    fn what_was_saved_piece_by_piece_is_loaded_too() {
        let dir = tempfile::tempdir().unwrap();
        let (body, mut rests) = (ByteVec::from(vec![7; 2 * PIECE_BYTES]), 0);
        files(&dir).save_with_rests(7, &body, || rests += 1).unwrap();
        let loaded = files(&dir).load(7).unwrap();
        assert!(loaded == seal(&minicbor::to_vec(&body).unwrap()));
        assert_eq!(rests, 3);
    }

    #[test]
    fn only_the_last_one_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(&dir);
        for index in [9, 10, 11] {
            files.save(index, &seal(b"state")).unwrap();
        }
        files.retain(10).unwrap();
        assert!(files.load(9).is_err());
        assert!(files.load(10).is_ok() && files.load(11).is_ok());
    }

    #[test]
    fn a_flipped_bit_is_refused_and_the_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(&dir);
        let mut sealed = seal(b"state").to_vec();
        for position in 0..sealed.len() {
            sealed[position] ^= 4;
            files.save(7, &sealed).unwrap();
            let error = files.load(7).unwrap_err().to_string();
            assert!(error.contains("00000000000000000007.snapshot"), "{error}");
            sealed[position] ^= 4;
        }
        files.save(7, &sealed[..5]).unwrap();
        assert!(files.load(7).is_err());
    }
}
