//! How far it is, on standard error, where that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::interval;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::IntervalStream;

const STEP: Duration = Duration::from_millis(100);

/// A bar that is as long as the measurement.
pub struct Progress(ProgressBar);

impl Progress {
    /// One for a measurement that takes so long.
    pub fn of(total: Duration) -> Progress {
        let style = ProgressStyle::with_template("{elapsed:>4} {wide_bar} {eta} left  {msg}");
        let bar = ProgressBar::new(millis(total));
        Progress(bar.with_style(style.expect("the template is correct")))
    }

    /// Says what goes on.
    pub fn say(&self, what: &str) {
        self.0.set_message(what.to_owned());
    }

    /// Moves on while something lasts that takes `length`.
    pub async fn during<T>(&self, length: Duration, work: impl Future<Output = T>) -> T {
        let before = self.0.position();
        let steps = length.as_millis().div_ceil(STEP.as_millis()) as usize;
        let mut steps = IntervalStream::new(interval(STEP)).take(steps);
        let moving = async {
            while steps.next().await.is_some() {
                self.0.inc(millis(STEP));
            }
            std::future::pending().await
        };
        let result = tokio::select! {
            result = work => result,
            never = moving => never,
        };
        self.0.set_position(before + millis(length));
        result
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
