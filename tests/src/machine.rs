//! Whether the machine stood still while a test measured something.
//!
//! A host that has too much to do takes a virtual machine away for a second, or half of the time, and a disk may take as long for a sync. What a fleet
//! gets done meanwhile says nothing about Tollgate. So a share, a ratio or a quantile is judged on a machine that works: what
//! falls short while it stood still is measured again, and what never could be measured is said, on the standard error of the
//! test. What must hold on every machine (no call too many, no slot lost) is no matter of this module.

use std::{
    fmt, fs,
    io::{Write, stderr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tempfile::tempfile;
use tokio::time::Instant;

/// How often something is measured on a machine that stands still.
const TRIES: usize = 3;

/// How long a thread sleeps that watches, and every how many times it syncs a file.
const STEP: Duration = Duration::from_millis(10);
const STEPS_PER_SYNC: usize = 10;

/// By how much a step may take longer while nothing is amiss: two cores have much to do in these tests.
const USUAL: Duration = Duration::from_millis(50);

/// What is left of patience: permits of these tests are good for 400 ms, and a bound is often a quarter off what is expected.
const LONGEST: Duration = Duration::from_millis(200);
const SHARE: f64 = 0.05;

/// Lets a trial run that may fall short, as it says, for want of a machine; once more while the machine stood still.
/// Returns whether it could be judged, and then it was good.
///
/// # Panics
/// If it fell short on a machine that worked.
pub async fn judged_while_working(trial: impl AsyncFn() -> Result<(), String>) -> bool {
    for _ in 0..TRIES {
        let watch = Watch::begin();
        let verdict = trial().await;
        let stalls = watch.end();
        let Some(excuse) = stalls.excuse(verdict) else { return true };
        // Not by a macro, whose output a test that passes would hide.
        let _ = writeln!(stderr(), "{excuse}");
    }
    false
}

/// What falls short, in words.
///
/// # Errors
/// The problem, if there is one.
pub fn fails_if(falls_short: bool, problem: impl FnOnce() -> String) -> Result<(), String> {
    if falls_short { Err(problem()) } else { Ok(()) }
}

/// Watches the machine from a thread that only sleeps, and syncs a file now and then as a node does.
pub struct Watch {
    is_over: Arc<AtomicBool>,
    watching: Option<JoinHandle<Stalls>>,
}

/// For how long the machine stood still.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stalls {
    /// The longest time at once.
    pub longest: Duration,
    /// All of it, where a step took unusually long.
    pub total: Duration,
    /// Of this time.
    pub watched: Duration,
    /// The part of the processors' time that the host took, in slices too short to be seen otherwise. Known on Linux.
    pub stolen: f64,
}

impl Watch {
    /// From now on.
    ///
    /// # Panics
    /// If there is no place for a temporary file.
    pub fn begin() -> Watch {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut file = tempfile().expect("a temporary file");
        let watching = thread::spawn({
            let is_over = is_over.clone();
            move || {
                let (mut stalls, began, ticks) = (Stalls::default(), Instant::now(), Ticks::now());
                for step in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    let before = Instant::now();
                    thread::sleep(STEP);
                    if step % STEPS_PER_SYNC == 0 {
                        file.write_all(b".").and_then(|()| file.sync_data()).expect("a file can be written");
                    }
                    stalls.note(before.elapsed().saturating_sub(STEP));
                }
                Stalls { watched: began.elapsed(), stolen: Ticks::now().stolen_since(ticks), ..stalls }
            }
        });
        Watch { is_over, watching: Some(watching) }
    }

    /// What there was until now.
    ///
    /// # Panics
    /// If the file could not be written.
    pub fn end(mut self) -> Stalls {
        self.is_over.store(true, Ordering::Relaxed);
        let watching = self.watching.take().expect("it ends once");
        watching.join().expect("the thread only sleeps and writes")
    }
}

/// Also where a trial panics.
impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

impl Stalls {
    /// Nothing that a test would notice.
    pub fn is_quiet(&self) -> bool {
        self.longest < LONGEST && self.total < self.watched.mul_f64(SHARE) && self.stolen < SHARE
    }

    /// Why what fell short counts for nothing; none if nothing did.
    fn excuse(&self, verdict: Result<(), String>) -> Option<String> {
        let problem = verdict.err()?;
        assert!(!self.is_quiet(), "{problem}, on a machine that worked ({self})");
        Some(format!("not judged, because the machine stood still ({self}): {problem}"))
    }

    fn note(&mut self, stall: Duration) {
        self.longest = self.longest.max(stall);
        if stall > USUAL {
            self.total += stall;
        }
    }
}

impl fmt::Display for Stalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stalls { longest, total, watched, stolen } = self;
        let stolen = stolen * 100.0;
        write!(
            f,
            "it stood still for {total:.1?} of {watched:.1?}, for {longest:.1?} at once; {stolen:.0} % stolen"
        )
    }
}

/// Of all processors since the machine started, by the system's count.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Ticks {
    all: u64,
    stolen: u64,
}

impl Ticks {
    /// Nothing where the system does not tell.
    fn now() -> Ticks {
        fs::read_to_string("/proc/stat").map(|stat| Ticks::read(&stat)).unwrap_or_default()
    }

    /// The first line: user, nice, system, idle, iowait, irq, softirq, steal; guests are in user and nice (proc(5)).
    fn read(stat: &str) -> Ticks {
        let first = stat.lines().next().unwrap_or_default();
        let ticks: Vec<u64> = first.split_whitespace().skip(1).take(8).flat_map(str::parse).collect();
        Ticks { all: ticks.iter().sum(), stolen: ticks.get(7).copied().unwrap_or_default() }
    }

    fn stolen_since(self, before: Ticks) -> f64 {
        let all = self.all.saturating_sub(before.all);
        if all == 0 { 0.0 } else { self.stolen.saturating_sub(before.stolen) as f64 / all as f64 }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn stalls(steps: &[u64]) -> Stalls {
        let mut stalls = Stalls { watched: Duration::from_secs(10), ..Stalls::default() };
        steps.iter().for_each(|millis| stalls.note(Duration::from_millis(*millis)));
        stalls
    }

    #[test]
    fn a_long_stall_and_many_short_ones_are_noticed() {
        assert!(stalls(&[0, 3, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 190]).is_quiet());
        assert!(!stalls(&[200]).is_quiet());
        assert!(!stalls(&[60; 9]).is_quiet());
        assert!(!Stalls { stolen: 0.2, ..stalls(&[3]) }.is_quiet());
    }

    #[test]
    fn what_the_host_takes_is_read_from_the_first_line() {
        let before = Ticks::read("cpu  100 0 50 850 0 0 0 0 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n");
        let after = Ticks::read("cpu  150 0 60 900 0 0 0 90 7 7\ncpu0 1 2 3 4 5 6 7 8 0 0\n");
        assert_eq!(after, Ticks { all: 1_200, stolen: 90 });
        assert_eq!(after.stolen_since(before), 0.45);
        assert_eq!(Ticks::default().stolen_since(Ticks::default()), 0.0);
    }

    #[test]
    fn what_falls_short_is_excused_while_the_machine_stands_still() {
        assert_eq!(stalls(&[900]).excuse(Ok(())), None);
        let excuse = stalls(&[900]).excuse(Err("3 % used".to_owned())).unwrap();
        assert!(excuse.contains("for 900.0ms at once; 0 % stolen): 3 % used"), "{excuse}");
    }

    #[test]
    #[should_panic(expected = "3 % used, on a machine that worked")]
    fn what_falls_short_while_the_machine_works_is_not_excused() {
        stalls(&[9]).excuse(Err("3 % used".to_owned()));
    }

    #[test]
    fn a_thread_that_watches_sees_its_own_time() {
        let watch = Watch::begin();
        thread::sleep(STEP * 3);
        let stalls = watch.end();
        assert!(stalls.watched >= STEP * 3 && stalls.longest < stalls.watched);
    }

    #[tokio::test]
    async fn what_is_good_is_tried_once() {
        let tries = AtomicUsize::new(0);
        let good = async || {
            tries.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        assert!(judged_while_working(good).await);
        assert_eq!(tries.into_inner(), 1);
    }
}
