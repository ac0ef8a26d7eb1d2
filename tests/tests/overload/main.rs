//! Five times as much as a cluster takes: it goes on granting, refuses the rest sooner than it grants, says when to come
//! back, and is as it was when that is over.

mod callers;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;
use tollgate_tests::{
    machine::{fails_if, judged_while_working},
    processes::Processes,
    samples::plenty,
};

use crate::callers::{Counts, RESOURCE, crowd, flood};

/// Calls at a time that keep the cluster busy, and that it takes.
const ENOUGH: usize = 24;

/// Calls at a time in an overload by callers who come back when they are told to: more requests than the leader's door and the queue
/// behind it hold (24,576).
const TOO_MANY: usize = 5 * ENOUGH;

/// Requests a second in an overload by callers who never wait, by what is granted a second to enough of them.
const TOO_MUCH: f64 = 5.0;

/// So many of each kind, unless `TOLLGATE_OVERLOAD_SLICES` says otherwise.
const SLICES: usize = 3;

/// Of what is granted without an overload.
const GOODPUT_MIN: f64 = 0.8;

/// The same where nobody waits. It would be nothing if the cluster collapsed; whoever makes five times as many requests on the same
/// processors takes them from the nodes.
const FLOODED_GOODPUT_MIN: f64 = 0.25;

/// The same on any machine, of the best slices.
const GRANTED_AT_LEAST: f64 = 0.05;

/// A machine that does much else may stop a node for longer than leaders may be silent by default. This is about load, though,
/// and not about machines that stop.
const PATIENT: &[&str] = &["--election-timeout", "2s"];

const MEMORY_MAX_KIB: u64 = 600 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overloaded_cluster_goes_on_granting_and_refuses_the_rest() {
    judged_while_working(overload).await;
}

async fn overload() -> Result<(), String> {
    let cluster = Processes::start_with(PATIENT).await;
    cluster.client().resources().create(plenty(RESOURCE)).await.expect("the resource is new");
    let slices = std::env::var("TOLLGATE_OVERLOAD_SLICES").map_or(SLICES, |count| {
        count
            .parse()
            .ok()
            .filter(|slices| *slices > 0)
            .expect("TOLLGATE_OVERLOAD_SLICES is a number from 1 on")
    });
    let mut measured = Measured::default();
    crowd(&cluster, &measured.calm, ENOUGH).await;
    for _ in 0..slices {
        measured.round(&cluster).await;
    }
    measured.assert_sound();
    measured.judge()
}

/// What comes before an overload, what comes in the two kinds of it, and what comes right after it.
#[derive(Default)]
struct Measured {
    calm: Arc<Counts>,
    crowded: Arc<Counts>,
    flooded: Arc<Counts>,
    /// Grants a second in each slice.
    before: Vec<f64>,
    in_crowd: Vec<f64>,
    in_flood: Vec<f64>,
    after: Vec<f64>,
    /// How many processors the nodes had.
    had_before: Vec<f64>,
    had_in_flood: Vec<f64>,
    /// Of any node, in KiB.
    memory_max: u64,
}

impl Measured {
    async fn round(&mut self, cluster: &Processes) {
        let (peak, had) = with_processors(cluster, crowd(cluster, &self.calm, ENOUGH)).await;
        self.before.push(peak);
        self.had_before.push(had);
        self.in_crowd.push(crowd(cluster, &self.crowded, TOO_MANY).await);
        let (rate, had) = with_processors(cluster, flood(cluster, &self.flooded, TOO_MUCH * peak)).await;
        self.in_flood.push(rate);
        self.had_in_flood.push(had);
        self.after.push(crowd(cluster, &self.calm, ENOUGH).await);
        let memory = [1, 2, 3].map(|id| cluster.resident_kib(id)).into_iter().max();
        self.memory_max = self.memory_max.max(memory.unwrap_or_default());
    }

    /// What holds on every machine.
    fn assert_sound(&self) {
        for counts in [&self.calm, &self.crowded, &self.flooded] {
            let other = counts.other.lock();
            assert!(other.is_empty(), "{} times, only overload is a reason: {}", other.len(), other[0]);
            assert_eq!(counts.mute.load(Ordering::Relaxed), 0, "RetryInfo is missing");
        }
        // However little a machine lets it do.
        let most = |rates: &[f64]| rates.iter().copied().fold(0.0, f64::max);
        for rates in [&self.in_crowd, &self.in_flood, &self.after] {
            assert!(most(rates) >= GRANTED_AT_LEAST * most(&self.before), "it hardly grants: {rates:?}");
        }
        assert!(self.memory_max < MEMORY_MAX_KIB, "{} KiB", self.memory_max);
    }

    /// What a machine must work for.
    fn judge(&self) -> Result<(), String> {
        let rates = [&self.before, &self.in_crowd, &self.in_flood, &self.after].map(|rates| median(rates));
        let [Some(peak), Some(crowded), Some(flooded), Some(after)] = rates else { panic!("no slices") };
        for counts in [&self.calm, &self.crowded, &self.flooded] {
            let unanswered = counts.unanswered.load(Ordering::Relaxed);
            fails_if(unanswered > 0, || format!("{unanswered} calls had no answer in time"))?;
        }
        for counts in [&self.crowded, &self.flooded] {
            let refused = counts.refused.load(Ordering::Relaxed);
            fails_if(refused == 0, || "nothing was refused: that was no overload".to_owned())?;
        }
        let whole = |times: &Mutex<Vec<Duration>>| median(&times.lock());
        let refused_after = whole(&self.crowded.refused_after).ok_or("no call was refused as a whole")?;
        let granted_after = whole(&self.crowded.granted_after).ok_or("no call was granted as a whole")?;
        println!(
            "{peak:.0} grants/s. Five times as many callers: {crowded:.0} ({:.2}), refused after {refused_after:.0?}, granted after \
             {granted_after:.0?}. Five times as many requests: {flooded:.0} ({:.2}), {:.2} of all granted, while the nodes had {:.2} \
             processors instead of {:.2}. Right after it: {after:.0} ({:.2}). At most {} MiB",
            crowded / peak,
            flooded / peak,
            self.flooded.share_granted(),
            median(&self.had_in_flood).unwrap_or_default(),
            median(&self.had_before).unwrap_or_default(),
            after / peak,
            self.memory_max >> 10,
        );
        for (rate, least, when) in [
            (crowded, GOODPUT_MIN, "with too many callers"),
            (flooded, FLOODED_GOODPUT_MIN, "with callers who do not wait"),
            (after, GOODPUT_MIN, "when it was over"),
        ] {
            fails_if(rate <= least * peak, || format!("{rate:.0} of {peak:.0} grants/s {when}"))?;
        }
        fails_if(refused_after >= granted_after, || {
            format!("refused after {refused_after:?}, granted after {granted_after:?}")
        })
    }
}

/// Of those in the middle the greater; none of none.
fn median<T: Copy + PartialOrd>(of: &[T]) -> Option<T> {
    let mut sorted = of.to_vec();
    sorted.sort_by(|a, b| a.partial_cmp(b).expect("no measurement is NaN"));
    sorted.get(sorted.len() / 2).copied()
}

/// What comes of it, and how many processors the nodes had meanwhile.
async fn with_processors(cluster: &Processes, load: impl Future<Output = f64>) -> (f64, f64) {
    let had = || [1, 2, 3].map(|id| cluster.processor_time(id)).iter().sum::<Duration>();
    let (before, began) = (had(), Instant::now());
    let rate = load.await;
    (rate, (had() - before).div_duration_f64(began.elapsed()))
}
