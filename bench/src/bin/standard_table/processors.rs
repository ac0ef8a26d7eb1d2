//! What became of the time of the machine's processors while something was measured: how much the host gave to others (stolen),
//! and how much nobody wanted (idle). A row taken while much was stolen tells of the host. From `/proc/stat`; absent where
//! there is none.

use std::{fs, time::Duration};

use tokio::time::sleep;

/// Ticks since the machine was started, of all its processors together.
#[derive(Clone, Copy)]
pub struct Processors {
    all: u64,
    idle: u64,
    stolen: u64,
}

/// In percent of all processors' time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares {
    pub stolen: f64,
    pub idle: f64,
}

impl Processors {
    pub fn now() -> Option<Processors> {
        Processors::read(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// The first line has the sums: user, nice, system, idle, waiting for the disk, two kinds of interrupts, stolen (proc(5)).
    /// What follows is part of the first two.
    fn read(stat: &str) -> Option<Processors> {
        let sums = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<u64> =
            sums.split_whitespace().take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
        let &[_, _, _, idle, waiting, _, _, stolen] = ticks.as_slice() else { return None };
        Some(Processors { all: ticks.iter().sum(), idle: idle + waiting, stolen })
    }

    /// What became of the time from this look to a later one. The system may count back a little of what it took for idle.
    pub fn until(self, later: Processors) -> Option<Shares> {
        let all = later.all.checked_sub(self.all).filter(|ticks| *ticks > 0)?;
        let percent = |ticks: u64| 100.0 * ticks as f64 / all as f64;
        Some(Shares {
            stolen: percent(later.stolen.saturating_sub(self.stolen)),
            idle: percent(later.idle.saturating_sub(self.idle)),
        })
    }
}

/// What becomes of the time from now on, for so long.
pub async fn during(length: Duration) -> Option<Shares> {
    let before = Processors::now()?;
    sleep(length).await;
    before.until(Processors::now()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_of_the_time_between_two_looks() {
        let before = Processors::read("cpu  100 0 50 800 10 0 0 40 7 0\ncpu0 1 2 3\n").unwrap();
        let later = Processors::read("cpu  140 0 70 820 10 0 0 60 9 0\ncpu0 1 2 3\n").unwrap();
        assert_eq!(before.until(later), Some(Shares { stolen: 20.0, idle: 20.0 }));
        assert_eq!(before.until(before), None, "no time has passed");
        assert!(Processors::read("cpu 1 2 3\n").is_none());
        assert!(Processors::read("intr 1\n").is_none());
    }
}
