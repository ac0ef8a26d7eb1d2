//! Which vendor, how fast its clock runs, and how long its calls take.

use std::{ops::RangeInclusive, time::Duration};

use tokio::time::Instant;

use crate::account::{
    Account, apollo::Apollo, hubspot::HubSpot, salesforce::Salesforce, salesloft::Salesloft,
};

/// The limits of one vendor.
#[derive(Clone, Copy, Debug)]
pub enum Rules {
    /// Ten seconds, searches, a day.
    HubSpot(HubSpot),
    /// Long calls, 24 hours.
    Salesforce(Salesforce),
    /// Cost in a minute.
    Salesloft(Salesloft),
    /// A minute, an hour, a day.
    Apollo(Apollo),
}

/// What a mock vendor is to be like.
#[derive(Clone, Debug)]
pub struct Profile {
    /// What it enforces.
    pub rules: Rules,
    /// How long calls take that do not say it; evenly spread.
    pub latency: RangeInclusive<Duration>,
    /// From which the latencies follow.
    pub seed: u64,
}

impl Profile {
    /// With a clock that runs so many times as fast: all windows, and the time that calls take, are shorter.
    ///
    /// # Panics
    /// For a factor of 0.
    #[must_use]
    pub fn faster(self, factor: u32) -> Profile {
        let rules = match self.rules {
            Rules::HubSpot(figures) => Rules::HubSpot(figures.faster(factor)),
            Rules::Salesforce(figures) => Rules::Salesforce(figures.faster(factor)),
            Rules::Salesloft(figures) => Rules::Salesloft(figures.faster(factor)),
            Rules::Apollo(figures) => Rules::Apollo(figures.faster(factor)),
        };
        Profile { rules, latency: *self.latency.start() / factor..=*self.latency.end() / factor, ..self }
    }

    /// With calls that take so long, unless they say otherwise.
    #[must_use]
    pub fn with_latency(self, latency: RangeInclusive<Duration>) -> Profile {
        Profile { latency, ..self }
    }

    pub(crate) fn open(&self, now: Instant) -> Box<dyn Account> {
        match self.rules {
            Rules::HubSpot(figures) => Box::new(figures.open(now)),
            Rules::Salesforce(figures) => Box::new(figures.open()),
            Rules::Salesloft(figures) => Box::new(figures.open()),
            Rules::Apollo(figures) => Box::new(figures.open()),
        }
    }
}

impl From<Rules> for Profile {
    fn from(rules: Rules) -> Profile {
        Profile { rules, latency: Duration::from_millis(50)..=Duration::from_millis(150), seed: 1 }
    }
}

impl From<HubSpot> for Profile {
    fn from(figures: HubSpot) -> Profile {
        Rules::HubSpot(figures).into()
    }
}

impl From<Salesforce> for Profile {
    fn from(figures: Salesforce) -> Profile {
        Rules::Salesforce(figures).into()
    }
}

impl From<Salesloft> for Profile {
    fn from(figures: Salesloft) -> Profile {
        Rules::Salesloft(figures).into()
    }
}

impl From<Apollo> for Profile {
    fn from(figures: Apollo) -> Profile {
        Rules::Apollo(figures).into()
    }
}
