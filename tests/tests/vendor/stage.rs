//! A cluster, a vendor and a fleet, short or long.

use std::{collections::BTreeMap, env, path::PathBuf, time::Duration};

use tokio::{
    sync::{Mutex, MutexGuard},
    time::sleep,
};
use tollgate_client::{
    CircuitState,
    v1::{GetResourceUsageRequest, GetResourceUsageResponse, HeldSlot, Resource},
};
use tollgate_demo::{Scene, Tally, Vendor};
use tollgate_mock_vendor::{Ledger, MockVendor, Profile};
use tollgate_server::preset::Presets;
use tollgate_tests::{
    crews::{Crews, Terms},
    machine::judged_while_working,
    processes::Processes,
};

/// What all permits are asked for.
pub const RESOURCE: &str = "vendor/fleet";

/// How long, how many and how strict.
pub struct Size {
    /// How long a fleet works.
    pub work: Duration,
    /// How long the vendor is out of order, and the circuit open at first.
    pub outage: Duration,
    pub open_for: Duration,
    /// How many calls may find nobody there while connections are refused.
    pub refused_connections: u64,
    /// How long it enforces less than it documents, and what part of the calls may be refused after the first.
    pub tightened: Duration,
    pub refused_share: f64,
    /// How many processes are killed.
    pub kills: usize,
    /// How many wait while an urgent one comes.
    pub queue: usize,
    /// By how much windows are shorter than ten seconds.
    pub faster: u32,
    /// How long permits may be used; none: as the scene says.
    pub tolerance: Option<Duration>,
    /// The part of the capacity that must be used.
    pub share: f64,
}

/// On a machine that stands still for half a second now and then.
const SHORT: Size = Size {
    work: Duration::from_secs(9),
    outage: Duration::from_secs(2),
    open_for: Duration::from_millis(300),
    refused_connections: 40,
    tightened: Duration::from_secs(20),
    refused_share: 0.2,
    kills: 3,
    queue: 3_000,
    faster: 2,
    tolerance: Some(Duration::from_millis(400)),
    share: 0.75,
};

/// With windows of ten seconds, on a machine that does nothing else.
const LONG: Size = Size {
    work: Duration::from_secs(75),
    outage: Duration::from_secs(120),
    open_for: Duration::from_secs(5),
    refused_connections: 60,
    tightened: Duration::from_secs(420),
    refused_share: 0.01,
    kills: 20,
    queue: 50_000,
    faster: 1,
    tolerance: None,
    share: 0.97,
};

/// As the environment says.
pub fn size() -> &'static Size {
    if is_long() { &LONG } else { &SHORT }
}

/// Whether there is time, and a quiet machine.
pub fn is_long() -> bool {
    env::var_os("TOLLGATE_E2E_LONG").is_some()
}

/// Two cores are hardly enough for one fleet.
pub async fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// A cluster, a vendor, and what joins them.
pub struct Stage {
    pub processes: Processes,
    pub vendor: MockVendor,
    pub scene: Scene,
}

impl Stage {
    /// With windows of ten seconds (and calls of two to three), or shorter ones.
    pub async fn set(vendor: Vendor) -> Stage {
        Stage::set_with(vendor, |resource| resource).await
    }

    /// The same, with something else than the scene says of the resource.
    pub async fn set_with(vendor: Vendor, change: impl FnOnce(Resource) -> Resource) -> Stage {
        let to_ten_seconds = match vendor {
            Vendor::Hubspot => 1,
            Vendor::Salesforce => 10,
            Vendor::Salesloft | Vendor::Apollo => 6,
        };
        let scene = Scene { vendor, faster: to_ten_seconds * size().faster };
        let mut resource = scene.resource(RESOURCE);
        if let Some(tolerance) = size().tolerance {
            resource.dispatch_tolerance = tolerance.try_into().ok();
        }
        Stage::open(scene, scene.profile(), change(resource)).await
    }

    /// By the vendor's own clock, with what a preset of the program says of the resource.
    pub async fn set_by_preset(vendor: Vendor, preset: &str) -> Stage {
        let scene = Scene { vendor, faster: 1 };
        Stage::open(scene, scene.profile(), by_preset(preset)).await
    }

    /// A vendor of its own kind.
    pub async fn open(scene: Scene, profile: Profile, resource: Resource) -> Stage {
        let resource = Resource { max_waiters: 200_000, max_waiters_per_consumer: 200_000, ..resource };
        let processes = Processes::start().await;
        processes.client().resources().create(resource).await.expect("the resource is new");
        let vendor = MockVendor::start(profile).await.expect("a free port");
        Stage { processes, vendor, scene }
    }

    pub fn crews(&self) -> Crews {
        let built_here = || PathBuf::from(env!("CARGO_BIN_EXE_crew"));
        Crews::start(Terms {
            program: env::var_os("TOLLGATE_CREW").map_or_else(built_here, PathBuf::from),
            nodes: [1, 2, 3].map(|id| self.processes.client_address(id)).to_vec(),
            url: self.vendor.url(),
            scene: self.scene,
            resource: RESOURCE.to_owned(),
        })
    }

    /// What the vendor saw, when no call is on its way any more.
    pub async fn ledger(&self) -> Ledger {
        sleep(Duration::from_millis(500)).await;
        self.vendor.ledger()
    }

    pub async fn slots_held(&self) -> Vec<HeldSlot> {
        self.usage().await.held
    }

    pub async fn waiting(&self) -> u64 {
        self.usage().await.waiting
    }

    /// Whether nothing but probes is let through because the vendor fails.
    pub async fn circuit_is_shut(&self) -> bool {
        let conditions = self.usage().await.resource.expect("it exists").conditions;
        conditions
            .iter()
            .flat_map(|of_key| &of_key.circuit)
            .any(|circuit| circuit.state() != CircuitState::Closed)
    }

    async fn usage(&self) -> GetResourceUsageResponse {
        let request = GetResourceUsageRequest { name: RESOURCE.into(), ..Default::default() };
        self.processes.client().resources().usage(request).await.expect("the cluster answers")
    }
}

/// What a preset of the program says.
pub fn by_preset(preset: &str) -> Resource {
    let (preset, plan) = Presets::embedded().select(preset).expect("a preset of the program");
    Resource { name: RESOURCE.to_owned(), ..preset.expand(plan, &BTreeMap::new(), &[]) }
}

/// Judges what a machine must work for. In the long form nothing is left unjudged.
pub async fn judged(trial: impl AsyncFn() -> Result<(), String>) {
    let has_been = judged_while_working(trial).await;
    assert!(has_been || !is_long(), "the machine stood still in every try");
}

/// Nobody was refused who came in time, and no worker met with anything that it could not mend. A machine that stands still holds
/// calls up on their way; the worker cannot know of it, and a call that the vendor sees later than its permit allowed may cost
/// another one its place, as long as the vendor counts it: as much as itself in a window that slides, up to a whole window where
/// it opens one. A slot is held for longer than calls take; to be late explains nothing there.
pub fn assert_clean(stage: &Stage, ledger: &Ledger, tally: &Tally) {
    let times = match stage.scene.vendor {
        Vendor::Hubspot | Vendor::Salesloft => 1,
        Vendor::Apollo => 1_000,
        Vendor::Salesforce => 0,
    };
    let unexplained = ledger.refused_in_time(stage.scene.window() * 2, times).count();
    let late = ledger.late().map(|call| call.late).max().unwrap_or_default();
    assert_eq!(
        unexplained,
        0,
        "{:?}; {} calls arrived later than their permits allowed, by {late:?} at most",
        ledger.refused_by_limit(),
        ledger.late().count(),
    );
    let refused = ledger.refused().count();
    assert!(
        refused == 0 || !is_long(),
        "{refused} calls were refused beside others that came late, by {late:?} at most"
    );
    // Who is killed tells nothing.
    assert!(tally.throttled <= refused as u64 && tally.problems.is_empty(), "{tally:?}");
}
