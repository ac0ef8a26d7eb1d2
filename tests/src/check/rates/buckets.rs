//! Buckets, as their documentation describes them: what is there, what flows in.

use tollgate_limiter::{ClusterTime, LeakyBucket, TokenBucket};

/// A bucket that begins full, gains `refill_amount` a period up to its capacity, and must hold what is taken out.
/// It is so exactly when in any interval T at most `capacity + T · refill_amount / refill_period` is taken.
pub(super) struct Bucket {
    // In tokens times the period in nanoseconds: a nanosecond adds `refill_amount`.
    level: i128,
    at: ClusterTime,
}

impl Bucket {
    pub(super) fn full(bucket: &TokenBucket, now: ClusterTime) -> Bucket {
        Bucket { level: scaled(bucket.capacity, bucket.refill_period.0), at: now }
    }

    pub(super) fn grant(
        &mut self,
        bucket: &TokenBucket,
        weight: u64,
        now: ClusterTime,
    ) -> Result<(), String> {
        self.refill(bucket, now);
        let level = self.level;
        self.level -= scaled(weight, bucket.refill_period.0);
        let period = i128::from(bucket.refill_period.0);
        match self.level < 0 {
            true => Err(format!("{weight} taken from a bucket of {}", level.div_euclid(period))),
            false => Ok(()),
        }
    }

    /// How many whole tokens it holds, as of the last grant.
    pub(super) fn left(&self, bucket: &TokenBucket) -> i64 {
        let left = self.level.div_euclid(i128::from(bucket.refill_period.0));
        i64::try_from(left).unwrap_or(i64::MAX)
    }

    /// What is there stays, at most the new capacity. A full bucket may be one that nobody has touched, and begin anew:
    /// what was taken out of it before has flowed in again, so no interval gets more than the larger capacity and the flow.
    pub(super) fn change(&mut self, old: &TokenBucket, new: &TokenBucket, now: ClusterTime) {
        self.refill(old, now);
        let full = scaled(new.capacity, new.refill_period.0);
        let is_full = self.level >= scaled(old.capacity, old.refill_period.0);
        let kept = rescaled(self.level, new.refill_period.0, old.refill_period.0);
        self.level = if is_full { full } else { kept.min(full) };
    }

    fn refill(&mut self, bucket: &TokenBucket, now: ClusterTime) {
        let gained = scaled(now.since(self.at).0, bucket.refill_amount);
        self.level = (self.level + gained).min(scaled(bucket.capacity, bucket.refill_period.0));
        self.at = now;
    }
}

/// Nothing is granted until the one before is paid for, by `amount` a period.
#[derive(Default)]
pub(super) struct Pace {
    // In amounts times the period in nanoseconds.
    owed: i128,
    at: ClusterTime,
}

impl Pace {
    pub(super) fn grant(
        &mut self,
        bucket: &LeakyBucket,
        weight: u64,
        now: ClusterTime,
    ) -> Result<(), String> {
        self.pay(bucket, now);
        let too_early_ns = self.owed / i128::from(bucket.amount);
        let is_early = self.owed > 0;
        self.owed = scaled(weight, bucket.period.0);
        if is_early { Err(format!("granted {too_early_ns} ns too early")) } else { Ok(()) }
    }

    /// What is to be paid stays, and is paid at the new pace.
    pub(super) fn change(&mut self, old: &LeakyBucket, new: &LeakyBucket, now: ClusterTime) {
        self.pay(old, now);
        // Rounded in favour of who is granted.
        self.owed = self.owed * i128::from(new.period.0) / i128::from(old.period.0);
    }

    fn pay(&mut self, bucket: &LeakyBucket, now: ClusterTime) {
        self.owed = (self.owed - scaled(now.since(self.at).0, bucket.amount)).max(0);
        self.at = now;
    }
}

fn scaled(amount: u64, by: u64) -> i128 {
    i128::from(amount) * i128::from(by)
}

/// Rounded up.
fn rescaled(level: i128, new: u64, old: u64) -> i128 {
    // Below 10^12 tokens of 400 days each, in nanoseconds: split so that no product overflows.
    let (new, old) = (i128::from(new), i128::from(old));
    (level.div_euclid(old)) * new + (level.rem_euclid(old) * new + old - 1) / old
}
