//! What one fsync costs on the disk of the nodes: the least that a durable answer can take.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    time::Duration,
};

use tokio::time::Instant;

const WRITES: usize = 500;

/// About what an entry with one command takes in the log.
const RECORD: [u8; 128] = [7; 128];

/// The median time to append a small record to a file in the directory and make it durable.
pub fn fsync_p50(directory: &Path) -> io::Result<Duration> {
    let path = directory.join("fsync-probe");
    let mut file = File::create(&path)?;
    let mut times = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        let began = Instant::now();
        file.write_all(&RECORD)?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    fs::remove_file(path)?;
    times.sort_unstable();
    Ok(times[WRITES / 2])
}
