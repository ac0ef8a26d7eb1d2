//! Some workers of a fleet, in one process.

use std::{ops::Range, time::Duration};

use tokio::{task::JoinSet, time::Instant};

use crate::{
    backoff::Backoff,
    scene::Scene,
    tally::{Shared, Tally},
    vendor_client::VendorClient,
    worker::{Style, Worker},
};

/// Of ten workers, one does interactive work.
const INTERACTIVE_OF: u32 = 10;

/// The part of the vendor's capacity that all interactive work together asks for.
const INTERACTIVE_SHARE: f64 = 0.1;

/// What a crew is to do.
pub struct Shift {
    /// How it keeps below limits.
    pub style: Style,
    /// What vendor it is.
    pub scene: Scene,
    /// Where the vendor is: `http://host:port`.
    pub url: String,
    /// Which workers of the fleet these are.
    pub workers: Range<u32>,
    /// How many the fleet has.
    pub fleet: u32,
}

/// Workers at work. Dropping it stops them where they are.
pub struct Crew {
    workers: JoinSet<()>,
    tally: Shared,
}

impl Shift {
    /// How long the fleet takes to come up: one window.
    pub fn ramp(&self) -> Duration {
        self.scene.window()
    }

    /// One first retry within a second of the vendor's time, none later than after a minute of it.
    fn backoff(&self) -> Backoff {
        let second = Duration::from_secs(1) / self.scene.faster;
        Backoff { base: second, cap: second * 60, tries: 6 }
    }

    /// Between two pieces of interactive work of one worker.
    fn pause(&self) -> Duration {
        let interactive = f64::from(self.fleet.div_ceil(INTERACTIVE_OF));
        Duration::from_secs_f64(interactive / (self.scene.calls_per_second() * INTERACTIVE_SHARE))
    }
}

impl Crew {
    /// Puts them to work. The whole fleet comes up within [`Shift::ramp`], evenly.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(shift: &Shift) -> Crew {
        let vendor = VendorClient::new(&shift.url, shift.scene);
        let tally = Shared::default();
        let mut workers = JoinSet::new();
        let began = Instant::now();
        for number in shift.workers.clone() {
            let worker = Worker {
                style: shift.style.clone(),
                vendor: vendor.clone(),
                backoff: shift.backoff(),
                tally: tally.clone(),
                random: fastrand::Rng::with_seed(number.into()),
                pause: number.is_multiple_of(INTERACTIVE_OF).then(|| shift.pause()),
            };
            let start = began + shift.ramp() * number / shift.fleet;
            workers.spawn(worker.work(start, began + shift.ramp()));
        }
        Crew { workers, tally }
    }

    /// What they have done so far.
    pub fn tally(&self) -> Tally {
        self.tally.snapshot()
    }

    /// Stops them in the middle of what they do; what they have done.
    pub async fn stop(mut self) -> Tally {
        self.workers.shutdown().await;
        self.tally()
    }
}
