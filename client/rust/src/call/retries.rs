//! When a call is made again, and after how long.

use std::time::Duration;

use super::observe::Observation;
use crate::feedback::Understood;

/// What is added to a wait at random, at most: one part in so many of it. Only ever added, so that those who failed together do
/// not come back together, and nobody comes back too early.
const JITTER: u32 = 2;

/// How often, and when, a call is made again.
///
/// What the vendor refused for its limits was not carried out, so it is tried again, and so is what never reached it. The next try
/// asks for its permit after `base · 2ⁿ` and up to half of that at random, or after what `Retry-After` says if that is longer, counted
/// from the answer: also where the cluster would grant it before. Then it waits at the server for its turn as all others do. A
/// `Retry-After` beyond `delay_max` is left to the cluster after that time if the cluster has read a wait in the answer, and holds
/// everybody back for it; else it ends the call, since earlier tries would be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// Tries in all, the first included: 1 or more (0 counts as 1). Default 6.
    pub tries: u32,
    /// The wait before the second try. Default 500 ms.
    pub base: Duration,
    /// The longest wait between two tries. Default 60 s.
    pub delay_max: Duration,
    /// Idempotent calls that the vendor answered with a 5xx are tried again. Default yes.
    pub on_server_errors: bool,
    /// Idempotent calls that were not answered, in time or at all, are tried again. Default yes.
    pub on_timeouts: bool,
}

impl Default for Retries {
    fn default() -> Retries {
        Retries {
            tries: 6,
            base: Duration::from_millis(500),
            delay_max: Duration::from_secs(60),
            on_server_errors: true,
            on_timeouts: true,
        }
    }
}

/// What to do after a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This was the last.
    Stop,
    /// Ask for the next permit when so much time has passed since this try ended.
    AskAfter(Duration),
}

/// A try and what is known about it.
pub(super) struct Tried<'a> {
    pub(super) observation: &'a Observation,
    /// None: nobody could read the answer, or be told of it.
    pub(super) understood: Option<&'a Understood>,
    /// What `Retry-After` says in HTTP's own forms.
    pub(super) retry_after: Option<Duration>,
    /// The caller states that making the call twice does no harm.
    pub(super) idempotent: bool,
}

impl Retries {
    /// A single try.
    pub fn none() -> Retries {
        Retries { tries: 1, ..Retries::default() }
    }

    /// What follows the n-th try, from 1 on. `random` is drawn from 0 to 1.
    pub(super) fn next(&self, tried: &Tried<'_>, n: u32, random: f64) -> Next {
        if n >= self.tries || !self.allow(tried) {
            return Next::Stop;
        }
        let is_held = tried.understood.is_some_and(|understood| understood.wait.is_some());
        let wait = tried.retry_after.unwrap_or_default();
        if wait > self.delay_max && !is_held {
            return Next::Stop;
        }
        // A cluster that was told to heed vendors for a moment only, or could not keep what it was told, grants at once.
        Next::AskAfter(self.delay(n, random).max(wait.min(self.delay_max)))
    }

    fn allow(&self, tried: &Tried<'_>) -> bool {
        if tried.understood.is_some_and(|understood| understood.limited) {
            return true;
        }
        match tried.observation {
            Observation::Answered(answer) => match answer.status() {
                429 => true,
                // No other version or method will be understood the next time.
                501 | 505 => false,
                500.. => tried.idempotent && self.on_server_errors,
                _ => false,
            },
            Observation::Unanswered => tried.idempotent && self.on_timeouts,
            Observation::Unreached | Observation::Unsent => true,
            Observation::Unneeded | Observation::Failed => false,
        }
    }

    /// The wait after the n-th try, from 1 on: `base · 2ⁿ⁻¹` and a random part, `delay_max` at most. What grows stops where the
    /// random part still fits, so that it never vanishes.
    fn delay(&self, n: u32, random: f64) -> Duration {
        let growth = 2_u32.saturating_pow(n.saturating_sub(1));
        let most = self.delay_max / (JITTER + 1) * JITTER;
        let wait = self.base.saturating_mul(growth).min(most);
        wait + (wait / JITTER).mul_f64(random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::answer::Answer;

    fn retries() -> impl Strategy<Value = Retries> {
        let millis = |most| (0..=most).prop_map(Duration::from_millis);
        (0..=u32::MAX, millis(u64::MAX / 4), millis(86_400_000))
            .prop_map(|(tries, base, delay_max)| Retries { tries, base, delay_max, ..Retries::default() })
    }

    proptest! {
        #[test]
        fn a_wait_grows_to_its_bound_and_no_further(retries in retries(), n in 1..=u32::MAX, random in 0.0..=1.0) {
            let wait = retries.delay(n, random);
            prop_assert!(wait <= retries.delay_max);
            let wanted = retries.base.saturating_mul(2_u32.saturating_pow(n - 1));
            prop_assert!(wait >= wanted.min(retries.delay_max / 3 * 2), "never earlier than base · 2ⁿ⁻¹");
            prop_assert!(wait <= wanted.saturating_mul(3) / 2);
            prop_assert!(retries.delay(n, 0.0) <= wait && wait <= retries.delay(n, 1.0));
            prop_assert!(retries.delay(n, random) <= retries.delay(n.saturating_add(1), random));
        }

        #[test]
        fn those_who_failed_together_do_not_come_back_together(n in 1_u32..100, random in 0.0..0.9) {
            let retries = Retries::default();
            prop_assert!(retries.delay(n, random + 0.1) > retries.delay(n, random) + Duration::from_millis(20));
        }

        #[test]
        fn a_vendors_wait_is_never_cut_short(retries in retries(), n in 1..100_u32, random in 0.0..=1.0, wait in 0..100_000_u64) {
            let wait = Duration::from_secs(wait);
            let observation = Observation::Answered(Answer::new(429));
            let tried = Tried { observation: &observation, understood: None, retry_after: Some(wait), idempotent: false };
            match retries.next(&tried, n, random) {
                Next::AskAfter(delay) => prop_assert!(delay >= wait && delay <= retries.delay_max),
                Next::Stop => prop_assert!(wait > retries.delay_max || n >= retries.tries),
            }
        }

        #[test]
        fn whatever_the_cluster_holds_the_vendor_is_left_alone(
            retries in retries(), n in 1..100_u32, random in 0.0..=1.0, held in 0..100_000_u64, wait in 0..100_000_u64,
        ) {
            let (held, wait) = (Duration::from_secs(held), Duration::from_secs(wait));
            let observation = Observation::Answered(Answer::new(429));
            let understood = Understood { limited: true, wait: Some(held), ..Understood::default() };
            let tried =
                Tried { observation: &observation, understood: Some(&understood), retry_after: Some(wait), idempotent: false };
            match retries.next(&tried, n, random) {
                Next::AskAfter(delay) => {
                    prop_assert!(delay >= wait.min(retries.delay_max) && delay <= retries.delay_max);
                    prop_assert!(delay >= retries.delay(n, random));
                }
                Next::Stop => prop_assert!(n >= retries.tries),
            }
        }
    }

    #[test]
    fn six_tries_take_half_a_minute_at_most() {
        let retries = Retries::default();
        let waits = |random| (1..6).map(|n| retries.delay(n, random).as_millis()).collect::<Vec<_>>();
        assert_eq!(waits(0.0), [500, 1_000, 2_000, 4_000, 8_000]);
        assert_eq!(waits(1.0), [750, 1_500, 3_000, 6_000, 12_000]);
    }

    #[test]
    fn what_is_tried_again() {
        use Observation::*;
        let [limited, served] = [true, false].map(|limited| Understood { limited, ..Understood::default() });
        let status = |status| Answered(Answer::new(status));
        for (observation, understood, idempotent, again) in [
            (status(200), None, true, false),
            (status(302), None, true, false),
            (status(429), None, false, true),
            // A vendor that says 429 for something else, as Stripe does for locks.
            (status(429), Some(&served), false, true),
            (status(403), Some(&limited), false, true),
            (status(403), Some(&served), true, false),
            (status(400), None, true, false),
            (status(404), None, true, false),
            (status(503), Some(&limited), false, true),
            (status(503), None, false, false),
            (status(503), None, true, true),
            (status(500), Some(&served), true, true),
            (status(501), None, true, false),
            (status(200), Some(&limited), false, true),
            (Unanswered, None, false, false),
            (Unanswered, None, true, true),
            (Unreached, None, false, true),
            (Unsent, None, false, true),
            (Unneeded, None, true, false),
            (Failed, None, true, false),
        ] {
            let tried = Tried { observation: &observation, understood, retry_after: None, idempotent };
            let next = Retries::default().next(&tried, 1, 0.0);
            assert_eq!(next != Next::Stop, again, "{observation:?} {understood:?} {idempotent}");
            assert_eq!(Retries::default().next(&tried, 6, 0.0), Next::Stop);
            assert_eq!(Retries::none().next(&tried, 1, 0.0), Next::Stop);

            let strict = Retries { on_server_errors: false, on_timeouts: false, ..Retries::default() };
            let refused = again && !idempotent;
            assert_eq!(strict.next(&tried, 1, 0.0) != Next::Stop, refused, "{observation:?}");
        }
    }

    #[test]
    fn whom_the_cluster_holds_back_for_long_asks_it_when_the_longest_pause_is_over() {
        let observation = Observation::Answered(Answer::new(429));
        let wait = Some(Duration::from_secs(3_000));
        let understood = Understood { limited: true, wait, ..Understood::default() };
        let tried = Tried {
            observation: &observation,
            understood: Some(&understood),
            retry_after: wait,
            idempotent: false,
        };
        assert_eq!(Retries::default().next(&tried, 1, 0.5), Next::AskAfter(Duration::from_secs(60)));
    }

    #[test]
    fn no_try_follows_another_without_a_pause() {
        let observation = Observation::Answered(Answer::new(429));
        let millis = Duration::from_millis;
        for (held, retry_after, n, pause) in [
            (Some(0), None, 1, 500),
            (Some(1), None, 1, 500),
            (Some(499), None, 1, 500),
            (Some(500), None, 1, 500),
            (Some(60_000), None, 2, 1_000),
            (Some(60_000), None, 5, 8_000),
            (None, Some(0), 1, 500),
            (None, Some(30_000), 1, 30_000),
            (Some(1), Some(30_000), 1, 30_000),
            (Some(30_000), Some(30_000), 5, 30_000),
            (Some(1), Some(3_600_000), 1, 60_000),
            (Some(3_600_000), Some(3_600_000), 1, 60_000),
        ] {
            let understood = Understood { limited: true, wait: held.map(millis), ..Understood::default() };
            let tried = Tried {
                observation: &observation,
                understood: Some(&understood),
                retry_after: retry_after.map(millis),
                idempotent: false,
            };
            let next = Retries::default().next(&tried, n, 0.0);
            assert_eq!(next, Next::AskAfter(millis(pause)), "{held:?} and {retry_after:?} after try {n}");
        }
    }
}
