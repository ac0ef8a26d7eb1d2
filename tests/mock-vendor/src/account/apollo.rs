//! Apollo: calls a minute, an hour and a day, for each endpoint. Each window opens with the first call in it.
//!
//! The endpoint is the path.

use std::{collections::BTreeMap, time::Duration};

use http::StatusCode;
use serde_json::json;
use tokio::time::Instant;

use super::{Account, Capacity, Refusal};
use crate::{call::Asked, limit::Fixed, traffic::Traffic};

/// The figures of each endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Apollo {
    /// Calls a minute, an hour and a day; none: not limited.
    pub amounts: [Option<u64>; 3],
    /// The minute, the hour and the day.
    pub periods: [Duration; 3],
}

const PERIODS: [Duration; 3] =
    [Duration::from_secs(60), Duration::from_secs(3_600), Duration::from_secs(86_400)];

/// How the ledger and the error name the windows.
const NAMES: [(&str, &str); 3] = [("minute", "minute"), ("hourly", "hour"), ("daily", "day")];

const LIMIT_HEADERS: [&str; 3] = ["x-rate-limit-minute", "x-rate-limit-hourly", "x-rate-limit-24-hour"];

const LEFT_HEADERS: [&str; 3] =
    ["x-minute-requests-left", "x-hourly-requests-left", "x-24-hour-requests-left"];

impl Apollo {
    /// Enrichment on the free plan.
    pub const FREE: Apollo = Apollo { amounts: [Some(50), Some(200), Some(600)], periods: PERIODS };

    /// Enrichment on a paid plan, whose longer windows are not published.
    pub const PAID_ENRICHMENT: Apollo = Apollo { amounts: [Some(1_000), None, None], periods: PERIODS };

    pub(crate) fn faster(self, factor: u32) -> Apollo {
        Apollo { periods: self.periods.map(|period| period / factor), ..self }
    }

    pub(crate) fn open(self) -> impl Account {
        let window = |index: usize| {
            self.amounts[index].map(|amount| Fixed::opened_by_first_call(amount, self.periods[index]))
        };
        let fresh = [window(0), window(1), window(2)];
        ApolloAccount { fresh, endpoints: BTreeMap::new(), percent: 100, told: false }
    }
}

type Windows = [Option<Fixed>; 3];

struct ApolloAccount {
    fresh: Windows,
    endpoints: BTreeMap<String, Windows>,
    percent: u32,
    told: bool,
}

impl ApolloAccount {
    /// The endpoint's windows, as they are enforced now.
    fn windows(&mut self, asked: &Asked) -> &mut Windows {
        let windows = self.endpoints.entry(asked.path.clone()).or_insert_with(|| self.fresh.clone());
        for window in windows.iter_mut().flatten() {
            window.amount.tighten(self.percent, self.told);
        }
        windows
    }
}

fn refused(index: usize, window: &Fixed, now: Instant) -> Refusal {
    let (limit, unit) = NAMES[index];
    let amount = window.amount.enforced();
    let message =
        format!("The maximum number of api calls allowed for this endpoint is {amount} times per {unit}.");
    // Whole seconds: whoever waits for so long is not too early.
    let seconds = window.ends_in(now).as_millis().div_ceil(1_000);
    Refusal {
        limit,
        status: StatusCode::TOO_MANY_REQUESTS,
        headers: vec![("retry-after", seconds.to_string())],
        body: json!({ "message": message }),
    }
}

impl Account for ApolloAccount {
    fn arrive(&mut self, asked: &Asked, _: &Traffic, now: Instant) -> Result<(), Refusal> {
        let windows = self.windows(asked);
        // The longest first: whoever is refused by it need not come back in a minute.
        for index in (0..windows.len()).rev() {
            if let Some(window) = &mut windows[index]
                && !window.has_room(now, 1)
            {
                return Err(refused(index, window, now));
            }
        }
        windows.iter_mut().flatten().for_each(|window| window.spend(now, 1));
        Ok(())
    }

    /// Those of a window without a limit are there, and empty.
    fn headers(&mut self, asked: &Asked, now: Instant) -> Vec<(&'static str, String)> {
        let windows = self.windows(asked);
        let told = windows.iter_mut().map(|window| match window {
            Some(window) => (window.amount.shown().to_string(), window.remaining(now).to_string()),
            None => Default::default(),
        });
        let names = LIMIT_HEADERS.into_iter().zip(LEFT_HEADERS);
        names.zip(told).flat_map(|((limit, left), told)| [(limit, told.0), (left, told.1)]).collect()
    }

    fn cost(&self, _: &Asked) -> u64 {
        1
    }

    fn tighten(&mut self, percent: u32, told: bool) {
        (self.percent, self.told) = (percent, told);
    }

    /// Of the shortest window of one endpoint.
    fn capacity(&self) -> Capacity {
        let shortest = self.fresh.iter().flatten().next().cloned();
        shortest.map_or(Capacity::Calls(usize::MAX), |mut window| {
            window.amount.tighten(self.percent, self.told);
            window.capacity()
        })
    }
}
