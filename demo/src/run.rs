//! Two runs, one after the other.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tollgate_client::Client;
use tollgate_mock_vendor::{MockVendor, Outage};

use crate::{
    crew::{Crew, Shift},
    error::Error,
    figures::{Comparison, Figures},
    scene::{Scene, Vendor},
    worker::Style,
};

/// What to show.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Which vendor to imitate.
    pub vendor: Vendor,
    /// Workers of the fleet.
    pub workers: u32,
    /// How long each run takes.
    pub length: Duration,
}

/// The resource that is created for it.
const RESOURCE: &str = "vendor/demo";

/// Between two looks at what goes on.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Runs the fleet on a cluster that nobody else uses. `watch` is told several times a second how it goes.
///
/// # Errors
/// Whatever keeps the fleet from its work.
pub async fn compare(
    client: &Client,
    plan: Plan,
    mut watch: impl FnMut(&Comparison),
) -> Result<Comparison, Error> {
    let scene = Scene::compressed(plan.vendor);
    client.resources().create(scene.resource(RESOURCE)).await?;
    let mut comparison = Comparison::default();
    run(plan, scene, Style::Naive, |figures| {
        comparison.naive = Some(figures);
        watch(&comparison);
    })
    .await?;
    let consumer = "demo".to_owned();
    let style = Style::Tollgate { client: client.clone(), resource: RESOURCE.to_owned(), consumer };
    run(plan, scene, style, |figures| {
        comparison.tollgate = Some(figures);
        watch(&comparison);
    })
    .await?;
    Ok(comparison)
}

async fn run(plan: Plan, scene: Scene, style: Style, mut watch: impl FnMut(Figures)) -> Result<(), Error> {
    let vendor = MockVendor::start(scene.profile()).await?;
    let url = vendor.url();
    let shift = Shift { style, scene, url, workers: 0..plan.workers, fleet: plan.workers };
    let crew = Crew::start(&shift);
    let began = Instant::now();
    let mut outage_is_due = true;
    while began.elapsed() < plan.length {
        sleep(LOOK_EVERY).await;
        if outage_is_due && began.elapsed() >= plan.length / 2 {
            outage_is_due = false;
            vendor.fail_for(Outage::Failing, plan.length / 10);
        }
        let tally = crew.tally();
        if let Some(problem) = tally.problems.first() {
            return Err(Error::Worker(problem.clone()));
        }
        watch(Figures::of(&vendor, &tally, shift.ramp()));
    }
    let figures = Figures::of(&vendor, &crew.tally(), shift.ramp());
    crew.stop().await;
    watch(figures);
    Ok(())
}
