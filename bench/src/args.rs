//! The command line of `tollgate bench`, and what of it makes no sense.

use std::time::Duration;

use crate::{
    error::Error,
    plan::{Calls, Cycle, PAIRS_MIN, Pace, Plan, Shape, Stream, Target},
};

/// Requests in a batch and calls in a message, as the API bounds them.
const PER_MESSAGE_MAX: usize = 1_000;
/// Limits of one resource, as the API bounds them.
const LIMITS_MAX: usize = 32;
const CONNECTIONS_MAX: usize = 10_000;
const IN_FLIGHT_MAX: usize = 100_000;
const RESOURCES_MAX: usize = 1_000_000;
/// Operations that start in a second.
const RATE_MAX: f64 = 10_000_000.0;
/// What is open at once unless told otherwise: calls, and messages of many calls.
const CALLS_IN_FLIGHT: usize = 256;
const MESSAGES_IN_FLIGHT: usize = 32;
const WAITERS_IN_FLIGHT: usize = 64;
/// For those who wait, few enough to be waited for.
const SLOTS_WAITED_FOR: u32 = 8;
/// For leases, more than are ever held.
const SLOTS_AMPLE: u32 = 100_000;
const PER_MESSAGE: usize = 100;

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What one operation is.
    #[arg(value_enum, default_value_t = Mode::Acquire)]
    mode: Mode,

    /// Connections to each side.
    #[arg(long, value_name = "N", default_value_t = 4)]
    connections: usize,

    /// Closed loop: calls that are open at once, over all connections; for batch and stream, messages [default: 256 calls,
    /// 32 messages, 64 that wait].
    #[arg(long, value_name = "N")]
    in_flight: Option<usize>,

    /// Open loop: so many operations start in a second, whether or not others were answered; latency counts from when each
    /// was due. For batch, so many permits: a whole batch is due at once.
    #[arg(long, value_name = "PER SECOND")]
    rate: Option<f64>,

    /// Resources that the requests are spread over.
    #[arg(long, value_name = "N", default_value_t = 1)]
    resources: usize,

    /// Some resources are asked for more often than others: the nth in proportion to n to the power of minus this, such as
    /// 1.0 [default: all as often].
    #[arg(long, value_name = "EXPONENT")]
    zipf: Option<f64>,

    /// Rate limits on each resource, of several kinds [default: 1; 0 for wait and lease, which have slots].
    #[arg(long, value_name = "N")]
    limits: Option<usize>,

    /// Slots of each resource, for wait and lease [default: 8 for wait, 100000 for lease].
    #[arg(long, value_name = "N")]
    slots: Option<u32>,

    /// Renewals of each lease.
    #[arg(long, value_name = "N")]
    renewals: Option<u32>,

    /// Calls in a message, for batch and stream [default: 100]; for lease, sends them over streams.
    #[arg(long, value_name = "N")]
    per_message: Option<usize>,

    /// Give each request an id of its own, which the cluster remembers, as a client that may retry does.
    #[arg(long)]
    request_ids: bool,

    /// Whom to connect to. Several are loaded in turn, a second each.
    #[arg(long, value_enum, value_name = "NODES", value_delimiter = ',', default_value = "leader")]
    target: Vec<Target>,

    /// How long each target is measured.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    duration: Duration,

    /// How long each is loaded before it is measured.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration)]
    warm_up: Duration,

    /// Compare with the floor: a bare tonic server on this machine that answers the same messages with the same bytes. Both
    /// are loaded in turn, a second each.
    #[arg(long)]
    floor: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// A permit, by a call of its own.
    Acquire,
    /// Permits, many in a call.
    Batch,
    /// Permits over two-way streams, many in a message.
    Stream,
    /// A denial: the limit is exhausted.
    Deny,
    /// A permit that is waited for until somebody releases a slot.
    Wait,
    /// A slot: acquire, renew, release.
    Lease,
    /// A permit that the Rust client has taken in advance; --in-flight is how many workers take them.
    Prefetch,
}

impl Args {
    /// The plan, if these arguments make sense together.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`], naming the argument that is wrong.
    pub fn plan(&self) -> Result<Plan, Error> {
        self.check_ranges()?;
        self.check_mode()?;
        self.check_comparison()?;
        Ok(Plan {
            shape: self.shape(),
            pace: self.pace()?,
            connections: self.connections,
            targets: self.target.clone(),
            floor: self.floor,
            duration: self.duration,
            warm_up: self.warm_up,
            resources: self.resources,
            zipf: self.zipf,
            limits: self.limits(),
            slots: self.slots(),
            request_ids: self.request_ids,
        })
    }

    fn check_ranges(&self) -> Result<(), Error> {
        within("--connections", self.connections, 1, CONNECTIONS_MAX)?;
        within("--resources", self.resources, 1, RESOURCES_MAX)?;
        within("--per-message", self.per_message.unwrap_or(1), 1, PER_MESSAGE_MAX)?;
        within("--slots", self.slots.unwrap_or(1), 1, SLOTS_AMPLE)?;
        let slot_limits = usize::from(self.has_slots());
        within("--limits", self.limits(), 1 - slot_limits, LIMITS_MAX - slot_limits)?;
        if self.duration.is_zero() {
            return usage("--duration must be more than 0s");
        }
        match self.zipf {
            Some(exponent) if !(exponent > 0.0 && exponent <= 10.0) => {
                usage("--zipf must be more than 0, and at most 10")
            }
            Some(_) if self.resources < 2 => {
                usage("--zipf is about how requests are spread: give --resources 2 or more")
            }
            _ => Ok(()),
        }
    }

    fn check_mode(&self) -> Result<(), Error> {
        if self.per_message.is_some() && !matches!(self.mode, Mode::Batch | Mode::Stream | Mode::Lease) {
            return usage(
                "--per-message is for batch, stream and lease: all others send calls by themselves",
            );
        }
        if self.renewals.is_some() && self.mode != Mode::Lease {
            return usage("--renewals is for lease");
        }
        if self.request_ids && self.mode == Mode::Prefetch {
            return usage("--request-ids is not for prefetch: each chunk has an id of its own");
        }
        if self.slots.is_some() && !self.has_slots() {
            return usage("--slots is for wait and lease");
        }
        Ok(())
    }

    fn check_comparison(&self) -> Result<(), Error> {
        let is_repeated = |target: &Target| self.target.iter().filter(|other| *other == target).count() > 1;
        if let Some(target) = self.target.iter().find(|target| is_repeated(target)) {
            return usage(format!("--target names {} twice", target.name()));
        }
        if self.floor && self.mode == Mode::Wait {
            return usage("--floor has nothing to wait for: leave it out with wait");
        }
        if self.floor && self.mode == Mode::Prefetch {
            return usage("--floor has nothing to compare with prefetch, which hardly asks: leave it out");
        }
        if self.floor && self.rate.is_some() {
            return usage("--floor compares throughput, and --rate fixes it: leave one of them out");
        }
        let seconds = Duration::from_secs(self.duration.as_secs());
        if (self.floor || self.target.len() > 1)
            && (self.duration < Duration::from_secs(PAIRS_MIN) || seconds != self.duration)
        {
            return usage(format!(
                "--duration must be whole seconds, at least {PAIRS_MIN}s, where sides are compared: each is loaded for a \
                 second in its turn"
            ));
        }
        Ok(())
    }

    fn pace(&self) -> Result<Pace, Error> {
        let Some(rate) = self.rate else {
            // The client of prefetch has connections of its own.
            let least = if self.mode == Mode::Prefetch { 1 } else { self.connections };
            let in_flight = self.in_flight.unwrap_or_else(|| self.usual_in_flight().max(least));
            within("--in-flight", in_flight, least, IN_FLIGHT_MAX)?;
            return Ok(Pace::Closed { in_flight });
        };
        if self.in_flight.is_some() {
            return usage("--in-flight is for the closed loop: with --rate, calls start when they are due");
        }
        if let Some(reason) = self.has_no_open_loop() {
            return usage(format!(
                "--rate is for acquire, deny, batch, and lease without --per-message: {reason}"
            ));
        }
        // Of batches, one a second at least, as of all other calls.
        let least = self.shape().operations_per_call() as f64;
        if !(least..=RATE_MAX).contains(&rate) {
            return usage(format!("--rate must be {least} to {RATE_MAX} a second"));
        }
        Ok(Pace::Open { rate })
    }

    /// Why operations cannot start at a fixed rate, where they cannot.
    fn has_no_open_loop(&self) -> Option<&'static str> {
        match self.shape() {
            Shape::Calls(Calls::Acquire | Calls::Deny | Calls::Batch { .. } | Calls::Lease { .. }) => None,
            Shape::Calls(Calls::Wait) => Some(
                "nobody waits while the slots keep up with the rate, and once they do not, the queue only grows",
            ),
            Shape::Stream(_) => Some(
                "answers say what the next message of a stream carries, and when it is full, so no call is due by itself",
            ),
            Shape::Prefetch => Some(
                "permits taken in advance cost less than the look at the clock that says that one is due",
            ),
        }
    }

    fn shape(&self) -> Shape {
        let renewals = self.renewals.unwrap_or(1);
        let size = self.per_message.unwrap_or(PER_MESSAGE);
        let stream = |per_message, cycle| Shape::Stream(Stream { per_message, cycle });
        match (self.mode, self.per_message) {
            (Mode::Acquire, _) => Shape::Calls(Calls::Acquire),
            (Mode::Deny, _) => Shape::Calls(Calls::Deny),
            (Mode::Batch, _) => Shape::Calls(Calls::Batch { size }),
            (Mode::Wait, _) => Shape::Calls(Calls::Wait),
            (Mode::Lease, None) => Shape::Calls(Calls::Lease { renewals }),
            (Mode::Lease, Some(size)) => stream(size, Cycle::Lease { renewals }),
            (Mode::Stream, _) => stream(size, Cycle::Acquire),
            (Mode::Prefetch, _) => Shape::Prefetch,
        }
    }

    fn usual_in_flight(&self) -> usize {
        match self.shape() {
            Shape::Calls(Calls::Batch { .. }) | Shape::Stream(_) => MESSAGES_IN_FLIGHT,
            Shape::Calls(Calls::Wait) => WAITERS_IN_FLIGHT,
            Shape::Calls(_) => CALLS_IN_FLIGHT,
            Shape::Prefetch => 1,
        }
    }

    fn has_slots(&self) -> bool {
        matches!(self.mode, Mode::Wait | Mode::Lease)
    }

    fn slots(&self) -> Option<u32> {
        match self.mode {
            Mode::Wait => Some(self.slots.unwrap_or(SLOTS_WAITED_FOR)),
            Mode::Lease => Some(self.slots.unwrap_or(SLOTS_AMPLE)),
            _ => None,
        }
    }

    fn limits(&self) -> usize {
        self.limits.unwrap_or(if self.has_slots() { 0 } else { 1 })
    }
}

fn within<T: PartialOrd + std::fmt::Display>(
    argument: &str,
    given: T,
    least: T,
    most: T,
) -> Result<(), Error> {
    match given >= least && given <= most {
        true => Ok(()),
        false => usage(format!("{argument} must be {least} to {most}, not {given}")),
    }
}

fn usage<T>(message: impl Into<String>) -> Result<T, Error> {
    Err(Error::Usage(message.into()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn plan(line: &str) -> Result<Plan, Error> {
        Cli::parse_from(["bench"].into_iter().chain(line.split_whitespace())).args.plan()
    }

    #[test]
    fn what_makes_no_sense_names_the_argument() {
        for (line, named) in [
            ("--connections 0", "--connections must be 1 to"),
            ("--connections 8 --in-flight 4", "--in-flight must be 8 to"),
            ("--resources 0", "--resources must be"),
            ("--limits 0", "--limits must be 1 to 32"),
            ("lease --limits 32", "--limits must be 0 to 31"),
            ("--zipf 1", "--resources 2 or more"),
            ("--zipf nan --resources 9", "--zipf must be"),
            ("--per-message 10", "--per-message is for"),
            ("stream --per-message 1001", "--per-message must be 1 to 1000"),
            ("--renewals 1", "--renewals is for lease"),
            ("stream --slots 1", "--slots is for"),
            ("--rate 100 --in-flight 9", "--in-flight is for the closed loop"),
            ("stream --rate 100", "answers say what the next message"),
            ("lease --per-message 10 --rate 100", "answers say what the next message"),
            ("wait --rate 100", "the queue only grows"),
            ("--rate 0", "--rate must be 1 to 10000000"),
            ("--rate nan", "--rate must be"),
            ("batch --per-message 50 --rate 49", "--rate must be 50 to 10000000"),
            ("--rate 100 --floor", "--rate fixes it"),
            ("wait --floor", "nothing to wait for"),
            ("prefetch --floor --duration 6s", "nothing to compare"),
            ("prefetch --rate 100", "--rate is for acquire, deny, batch"),
            ("prefetch --request-ids", "--request-ids"),
            ("--floor --duration 5s", "at least 6s"),
            ("--floor --duration 6500ms", "whole seconds"),
            ("--target leader,all --duration 1s", "at least 6s"),
            ("--target all,all", "names all twice"),
            ("--duration 0s", "--duration must be"),
        ] {
            let refused = plan(line).expect_err(line).to_string();
            assert!(refused.contains(named), "{line}: {refused}");
        }
    }

    #[test]
    fn what_is_not_said_follows_from_the_mode() {
        let lease = plan("lease --per-message 50 --renewals 0").unwrap();
        let cycle = Cycle::Lease { renewals: 0 };
        assert_eq!(lease.shape, Shape::Stream(Stream { per_message: 50, cycle }));
        assert_eq!((lease.slots, lease.limits), (Some(SLOTS_AMPLE), 0));
        assert_eq!(lease.pace, Pace::Closed { in_flight: MESSAGES_IN_FLIGHT });
        let many = plan("--connections 1000").unwrap();
        assert_eq!(many.pace, Pace::Closed { in_flight: 1_000 }, "every connection has work");
        assert_eq!((many.slots, many.limits), (None, 1));
    }

    #[test]
    fn the_rate_of_batches_is_of_their_permits() {
        let batches = plan("batch --per-message 50 --rate 5000").unwrap();
        assert_eq!(batches.pace, Pace::Open { rate: 5_000.0 });
        assert_eq!(batches.shape.operations_per_call(), 50);
        assert_eq!(plan("--rate 100").unwrap().shape.operations_per_call(), 1);
    }
}
