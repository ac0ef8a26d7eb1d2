//! Looks whether the disk has room, and tells when that changes: a leader without room hands over to a voter with room, or
//! refuses whatever has to be written while there is none. Nothing else is wrong with it.

use std::path::Path;

use tracing::{info, warn};

/// The disk of the data directory.
pub(super) struct Disk {
    reserve_bytes: u64,
    is_low: bool,
}

impl Disk {
    /// One that has less than `reserve_bytes` free is low.
    pub fn new(reserve_bytes: u64) -> Disk {
        Disk { reserve_bytes, is_low: false }
    }

    /// Whether it is low now; none if that cannot be seen.
    pub fn look(&mut self, data_dir: &Path) -> Option<bool> {
        let disk = rustix::fs::statvfs(data_dir).ok()?;
        let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
        let (reserve_bytes, dir) = (self.reserve_bytes, data_dir.display());
        match self.turned(free_bytes) {
            Some(true) => {
                warn!(%dir, free_bytes, reserve_bytes, "the disk is low: another node is to lead, and while none can, whatever has to be written is refused");
            }
            Some(false) => info!(%dir, free_bytes, reserve_bytes, "the disk has room again"),
            None => {}
        }
        Some(self.is_low)
    }

    /// Whether it is low now, if it was otherwise before.
    fn turned(&mut self, free_bytes: u64) -> Option<bool> {
        let is_low = free_bytes < self.reserve_bytes;
        let has_turned = is_low != self.is_low;
        self.is_low = is_low;
        has_turned.then_some(is_low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_is_told() {
        let mut disk = Disk::new(100);
        let told = [200, 100, 99, 0, 100, 200].map(|free| disk.turned(free));
        assert_eq!(told, [None, None, Some(true), None, Some(false), None]);
    }

    #[test]
    fn a_reserve_that_no_disk_has_makes_it_low() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Disk::new(u64::MAX).look(dir.path()), Some(true));
        assert_eq!(Disk::new(0).look(dir.path()), Some(false));
        assert_eq!(Disk::new(0).look(&dir.path().join("gone")), None);
    }
}
