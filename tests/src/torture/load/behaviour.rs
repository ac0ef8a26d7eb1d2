//! How clients behave: most as they should, some as real ones do.

use std::time::Duration;

use rand::{RngExt, rngs::StdRng};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tollgate_limiter::{
    Acquire, Alternative, CallOutcome, Grant, Label, Priority, RequestId, ResourceName, Span,
};
use uuid::Uuid;

use super::Asker;
use crate::torture::workload::{BUCKET, CHANGING, FOR_EVER, GRACE, KEPT, LEASE, SLOTS, WINDOWS};

/// What a client does between two things; so the cluster is busy, and not drowned.
const PAUSE_MS: u64 = 30;

/// Slots of [`KEPT`] that one client takes at most.
const KEPT_MAX: u32 = 200;

/// One client, until it is told to stop.
pub async fn live(asker: Asker, mut rng: StdRng, stopped: watch::Receiver<bool>) {
    let mut kept = 0;
    while !*stopped.borrow() {
        match rng.random_range(0..100) {
            0..40 => use_slot(&asker, &mut rng).await,
            40..60 => use_tokens(&asker, &mut rng).await,
            60..67 => use_either(&asker, &mut rng).await,
            67..75 => use_windows(&asker, &mut rng).await,
            75..85 => repeat(&asker, &mut rng).await,
            85..88 => outlive(&asker, &mut rng).await,
            88..90 => vanish(&asker).await,
            _ if kept < KEPT_MAX => kept += u32::from(keep(&asker).await),
            _ => {}
        }
        sleep(Duration::from_millis(rng.random_range(1..=PAUSE_MS))).await;
    }
}

/// Takes a slot, often after a wait for its turn; works, sometimes for longer than one lease; and gives it back, sometimes
/// twice.
async fn use_slot(asker: &Asker, rng: &mut StdRng) {
    let priority = [Priority::High, Priority::Medium, Priority::Low][rng.random_range(0..3)];
    let wait = Span::from_millis(if rng.random_bool(0.5) { rng.random_range(1..3_000) } else { 0 });
    let asked = Acquire { priority, ..slot(asker) };
    let Some(grant) = asker.acquire_within(&asked, wait).await else { return };
    for _ in 0..rng.random_range(0..3) {
        sleep(Duration::from_millis(rng.random_range(0..100))).await;
        if !asker.renew(grant.permit, LEASE).await {
            break;
        }
    }
    asker.release(grant.permit, CallOutcome::Ok).await;
    if rng.random_bool(0.1) {
        asker.release(grant.permit, CallOutcome::Ok).await;
        asker.renew(grant.permit, LEASE).await;
    }
}

/// Takes tokens; some calls are never sent, and are given back.
async fn use_tokens(asker: &Asker, rng: &mut StdRng) {
    let cost = rng.random_range(1..=5);
    let resource = if rng.random_bool(0.5) { BUCKET } else { CHANGING };
    let Some(grant) = asker.acquire(&Acquire { cost, ..request(asker, resource) }).await else { return };
    if rng.random_bool(0.1) {
        asker.release(grant.permit, CallOutcome::NotSent).await;
    }
}

/// Takes what comes first: a slot, or tokens.
async fn use_either(asker: &Asker, rng: &mut StdRng) {
    let other = Alternative {
        resource: resource(BUCKET),
        operation: label(""),
        cost: rng.random_range(1..=5),
        amounts: Default::default(),
        key: label(""),
    };
    let asked = Acquire { alternatives: vec![other], ..slot(asker) };
    let Some(grant) = asker.acquire_within(&asked, Span::from_secs(1)).await else { return };
    if !grant.slots.is_empty() {
        asker.release(grant.permit, CallOutcome::Ok).await;
    }
}

async fn use_windows(asker: &Asker, rng: &mut StdRng) {
    let cost = rng.random_range(1..=3);
    asker.acquire(&Acquire { cost, ..request(asker, WINDOWS) }).await;
}

/// Asks again under the same request id, as after a lost answer; and sometimes for something else, which is an error.
async fn repeat(asker: &Asker, rng: &mut StdRng) {
    let asked = request(asker, [BUCKET, WINDOWS, SLOTS][rng.random_range(0..3)]);
    let again =
        if rng.random_bool(0.3) { Acquire { cost: asked.cost + 1, ..asked.clone() } } else { asked.clone() };
    // At the same time or one after the other.
    if rng.random_bool(0.5) {
        tokio::join!(asker.acquire_again(&asked), asker.acquire_again(&again));
    } else {
        asker.acquire(&asked).await;
        asker.acquire_again(&again).await;
    }
}

/// A zombie: goes on after its lease has ended, and the grace too, as if nothing had happened.
async fn outlive(asker: &Asker, rng: &mut StdRng) {
    let asked_at = Instant::now();
    let Some(grant) = asker.acquire(&slot(asker)).await else { return };
    let over = asked_at + duration(LEASE) + duration(GRACE);
    tokio::time::sleep_until(over + Duration::from_millis(rng.random_range(0..500))).await;
    asker.renew(grant.permit, LEASE).await;
    asker.release(grant.permit, CallOutcome::Ok).await;
}

/// Crashes with a slot in its hands.
async fn vanish(asker: &Asker) {
    asker.acquire(&slot(asker)).await;
}

/// Takes a slot for good; whether it got one.
async fn keep(asker: &Asker) -> bool {
    let lease = Some(FOR_EVER);
    let granted: Option<Grant> = asker.acquire(&Acquire { lease, ..request(asker, KEPT) }).await;
    granted.is_some()
}

fn slot(asker: &Asker) -> Acquire {
    request(asker, SLOTS)
}

fn request(asker: &Asker, name: &str) -> Acquire {
    Acquire {
        resource: resource(name),
        operation: label(""),
        cost: 1,
        amounts: Default::default(),
        consumer: label(&format!("client-{}", asker.id())),
        subject: label(""),
        key: label(""),
        priority: Priority::Medium,
        lease: (name == SLOTS).then_some(LEASE),
        request_id: RequestId::new(&Uuid::new_v4().to_string()).ok(),
        alternatives: Vec::new(),
        coalesce_key: None,
    }
}

fn resource(name: &str) -> ResourceName {
    ResourceName::new(name).expect("the name of a workload's resource")
}

fn label(text: &str) -> Label {
    Label::new(text).expect("a label")
}

fn duration(span: Span) -> Duration {
    Duration::from_nanos(span.0)
}
