//! One run before it happens: everything that is drawn is drawn here, or follows from a seed in here. A scenario is a value
//! that can be written to a file, shortened, and run again.

use serde::{Deserialize, Serialize};
use tollgate_limiter::Resource;

use super::{
    clock::DRIFT_PPM_MAX,
    faults::{self, PlannedFault},
    handovers::{self, PlannedHandover},
    network::Weather,
    random::Random,
    temper::Temper,
    workload::{resource, steady_resource},
};

/// How long a run lasts, in simulated milliseconds.
pub const LASTS_MS: u64 = 60_000;

/// In liveness mode, when everything is mended.
const HEALED_AT_MS: u64 = 35_000;

/// In liveness mode, how long before the end clients ask for nothing new.
pub const QUIET_MS: u64 = 8_000;

/// What is run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// What everything that is not in here follows from.
    pub seed: u64,
    /// Voters at the beginning: nodes 1 to this.
    pub voters: u64,
    /// How long it lasts, in milliseconds.
    pub lasts_ms: u64,
    /// Liveness mode: from when on nothing fails any more. Absent: safety mode, anything may fail until the end.
    pub healed_at_ms: Option<u64>,
    /// Bytes of log after which nodes take snapshots.
    pub snapshot_log_bytes: u64,
    /// What the network is like.
    pub weather: Weather,
    /// The longest that a sync takes, in microseconds.
    pub sync_us_max: u64,
    /// How long a node gathers events before it acts on them, at most, in microseconds.
    pub loop_us_max: u64,
    /// How fast the monotonic clocks run at the beginning, in millionths; node n has the entry n modulo their number.
    pub drift_ppm: Vec<i64>,
    /// What the resources' definitions follow from, one each.
    pub resources: Vec<u64>,
    /// The same for resources that no fault ever touches. They are counted on from the others.
    #[serde(default)]
    pub steady: Vec<u64>,
    /// Who asks.
    pub clients: Vec<Temper>,
    /// What goes wrong.
    pub faults: Vec<PlannedFault>,
    /// In liveness mode, what the leader is asked for after healing.
    #[serde(default)]
    pub handovers: Vec<PlannedHandover>,
}

impl Scenario {
    /// The scenario of a seed.
    pub fn draw(seed: u64) -> Scenario {
        let mut random = Random::new(seed, "scenario");
        let is_live = random.chance(500);
        let healed_at_ms = is_live.then_some(HEALED_AT_MS);
        let faults_end_ms = healed_at_ms.unwrap_or(LASTS_MS);
        let resources: Vec<_> = (0..random.between(1, 3)).map(|_| random.seed()).collect();
        let drift_max = DRIFT_PPM_MAX as i64;
        Scenario {
            seed,
            voters: *random.pick(&[3, 3, 3, 3, 3, 3, 1, 4, 5]),
            lasts_ms: LASTS_MS,
            healed_at_ms,
            snapshot_log_bytes: *random.pick(&[2 << 10, 8 << 10, 64 << 10, 1 << 20]),
            weather: draw_weather(&mut random),
            sync_us_max: *random.pick(&[500, 2_000, 15_000]),
            loop_us_max: *random.pick(&[0, 100, 1_000]),
            drift_ppm: (0..8).map(|_| *random.pick(&[0, drift_max, -drift_max])).collect(),
            clients: (0..random.between(2, 6)).map(|_| Temper::draw(&mut random)).collect(),
            faults: draw_faults(&mut random, seed, faults_end_ms, resources.len()),
            handovers: healed_at_ms.map(|at_ms| handovers::draw(seed, at_ms)).unwrap_or_default(),
            steady: (0..random.between(1, 2)).map(|_| random.seed()).collect(),
            resources,
        }
    }

    /// What there is to ask for: the definitions of all resources, by their number.
    pub fn definitions(&self) -> impl Iterator<Item = Resource> {
        let changing = self.resources.iter().enumerate().map(|(number, seed)| resource(number, *seed));
        let steady = (self.resources.len()..).zip(&self.steady);
        changing.chain(steady.map(|(number, seed)| steady_resource(number, *seed)))
    }

    /// How many resources there are.
    pub fn resource_count(&self) -> usize {
        self.resources.len() + self.steady.len()
    }

    /// From when on clients ask for nothing new.
    pub fn quiet_from_ms(&self) -> u64 {
        match self.healed_at_ms {
            Some(_) => self.lasts_ms.saturating_sub(QUIET_MS),
            None => self.lasts_ms,
        }
    }
}

fn draw_faults(random: &mut Random, seed: u64, end_ms: u64, resources: usize) -> Vec<PlannedFault> {
    let mut planned = faults::draw(random, end_ms, resources);
    planned.extend(faults::draw_crashes_installing(seed, end_ms));
    planned.sort_by_key(|planned| planned.at_ms);
    planned
}

fn draw_weather(random: &mut Random) -> Weather {
    let (delay_us_min, delay_us_max) = *random.pick(&[(100, 500), (200, 5_000), (5_000, 40_000)]);
    Weather {
        delay_us_min,
        delay_us_max,
        lost_permille: *random.pick(&[0, 0, 5, 30]),
        repeated_permille: *random.pick(&[0, 0, 10]),
        reorders: random.chance(500),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_before_there_were_handovers_has_none() {
        let mut written = serde_json::to_value(Scenario::draw(1)).unwrap();
        written.as_object_mut().unwrap().remove("handovers").unwrap();
        assert!(serde_json::from_value::<Scenario>(written).unwrap().handovers.is_empty());
    }

    #[test]
    fn a_scenario_survives_its_file() {
        for seed in 0..30 {
            let scenario = Scenario::draw(seed);
            let written = serde_json::to_string(&scenario).unwrap();
            assert_eq!(serde_json::from_str::<Scenario>(&written).unwrap(), scenario);
        }
    }
}
