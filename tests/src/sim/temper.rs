//! How a client behaves: what it does wrong, and how often.

use serde::{Deserialize, Serialize};

use super::random::Random;

/// Habits, most of them so many times in a thousand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Temper {
    /// From one request to the next, on average, in milliseconds.
    pub think_ms: u64,
    /// How long a permit is held, at most, in milliseconds.
    pub hold_ms: u64,
    /// Asks for so many permits at once, together with all other clients that do.
    pub herd: u64,
    /// Gives its request an id.
    pub names: u64,
    /// Asks again when it does not know what became of a request.
    pub retries: u64,
    /// Asks again though it was answered.
    pub replays: u64,
    /// Uses a request id for another body.
    pub forges: u64,
    /// Cancels before the answer comes.
    pub cancels: u64,
    /// Renews its lease in time.
    pub renews: u64,
    /// Acts on a permit after its lease.
    pub haunts: u64,
    /// Releases a second time.
    pub doubles: u64,
    /// Releases as not sent.
    pub unsent: u64,
    /// Settles for more or less than it asked for.
    pub settles: u64,
    /// Crashes, and forgets everything it holds.
    pub crashes: u64,
    /// Asks any node instead of the leader.
    pub strays: u64,
    /// Waits for its turn.
    pub waits: u64,
    /// Is never answered, because the answer is lost on the way.
    pub deaf: u64,
}

impl Temper {
    /// A temper: each habit is unknown to many, rare with some, and common with a few.
    pub fn draw(random: &mut Random) -> Temper {
        let mut habit = |common| match random.below(4) {
            0 | 1 => 0,
            2 => common / 5,
            _ => common,
        };
        let (herd, forges, cancels, haunts, doubles) =
            (habit(10), habit(200), habit(400), habit(900), habit(300));
        let (unsent, settles, crashes, deaf) = (habit(300), habit(400), habit(20), habit(100));
        let (retries, replays, waits) = (habit(900), habit(300), habit(800));
        Temper {
            think_ms: *random.pick(&[100, 400, 1_500, 4_000]),
            hold_ms: *random.pick(&[20, 300, 2_000, 8_000]),
            herd,
            names: *random.pick(&[700, 950, 1_000]),
            retries: retries + 100,
            replays,
            forges,
            cancels,
            renews: *random.pick(&[0, 500, 950]),
            haunts,
            doubles,
            unsent,
            settles,
            crashes,
            strays: *random.pick(&[20, 200]),
            waits,
            deaf,
        }
    }
}
