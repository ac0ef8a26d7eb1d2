//! What nodes have on their disks, and what is kept of it.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
};

use serde_json::json;

use crate::history::{Event, EventKind, History};

/// Empties a directory, which need not exist and may be a mount.
pub fn wipe(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

/// Copies a directory with everything in it.
pub fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let copy = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_all(&entry.path(), &copy)?,
            false => _ = fs::copy(entry.path(), copy)?,
        }
    }
    Ok(())
}

/// Writes what clients saw, a line of JSON for each event: for people, and their tools.
pub fn write_events(history: &History, path: &Path) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for Event { at, op, kind } in &history.events {
        let line = match kind {
            EventKind::Invoke { client, call } => {
                json!({ "at_ns": at.0, "op": op, "client": client, "call": format!("{call:?}") })
            }
            EventKind::Reply(reply) => json!({ "at_ns": at.0, "op": op, "reply": format!("{reply:?}") }),
            other => json!({ "at_ns": at.0, "op": op, "event": format!("{other:?}") }),
        };
        writeln!(file, "{line}")?;
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    use tollgate_limiter::{Command, PermitId, Span};

    use super::*;
    use crate::history::{Call, Reply};

    #[test]
    fn what_clients_saw_is_written_line_by_line() {
        let mut history = History::new(0);
        let op = history.invoke(Span(7), 12, Call::new(Command::GiveBack(PermitId(5))));
        history.reply(Span(9), op, Reply::Unknown);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.jsonl");
        write_events(&history, &path).unwrap();
        let lines = fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&lines[0]["client"], &lines[0]["at_ns"]), (&json!(12), &json!(7)));
        assert!(lines[0]["call"].as_str().unwrap().contains("GiveBack(PermitId(5))"), "{lines:?}");
        assert_eq!(lines[1], json!({ "at_ns": 9, "op": 1, "reply": "Unknown" }));
    }

    #[test]
    fn what_was_copied_outlives_what_is_wiped() {
        let directory = tempfile::tempdir().unwrap();
        let (disk, copy) = (directory.path().join("seat-2"), directory.path().join("seat-2.kept"));
        fs::create_dir_all(disk.join("log")).unwrap();
        fs::write(disk.join("log/1.raftlog"), "entries").unwrap();
        copy_all(&disk, &copy).unwrap();
        wipe(&disk).unwrap();
        assert_eq!(fs::read_dir(&disk).unwrap().count(), 0);
        assert_eq!(fs::read_to_string(copy.join("log/1.raftlog")).unwrap(), "entries");
    }
}
