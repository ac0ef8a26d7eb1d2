//! Plans whose answer can be worked out by hand; `agreement.rs` compares others with what really happens.

mod agreement;
mod budgets;

use crate::model::*;

use super::HORIZON;
use crate::Limiter;

const NAME: &str = "hubspot/acme";

fn span(secs: u64) -> Span {
    Span::from_secs(secs)
}

fn at(time: &str) -> Stamp {
    let time: jiff::Timestamp = time.parse().unwrap();
    Stamp { cluster: ClusterTime(0), wall: WallTime(i64::try_from(time.as_nanosecond()).unwrap()) }
}

fn limit(name: &str, kind: LimitKind) -> Limit {
    Limit {
        name: LimitName::new(name).unwrap(),
        operations: vec![],
        dimension: None,
        scope: Scope::Resource,
        max_scope_values: 100,
        shadow: false,
        kind,
    }
}

fn bucket(capacity: u64, refill_amount: u64, refill_period: Span) -> LimitKind {
    LimitKind::TokenBucket(TokenBucket { capacity, refill_amount, refill_period })
}

fn window(amount: u64, period: Span) -> LimitKind {
    let (anchor, max_clock_skew) = (Anchor::Epoch, Span::ZERO);
    LimitKind::FixedWindow(FixedWindow { amount, period, anchor, max_clock_skew })
}

fn day(amount: u64, zone: &str) -> LimitKind {
    let anchor = Anchor::Midnight(TimeZoneName::new(zone).unwrap());
    LimitKind::FixedWindow(FixedWindow { amount, period: span(86_400), anchor, max_clock_skew: Span::ZERO })
}

fn sliding(amount: u64, period: Span, resolution: u32) -> LimitKind {
    LimitKind::SlidingWindow(SlidingWindow { amount, period, resolution })
}

fn slots(slots: u32) -> LimitKind {
    LimitKind::Concurrency(Concurrency {
        slots,
        lease_default: span(60),
        lease_max: span(3600),
        grace: Span::ZERO,
        counts_after: Span::ZERO,
        quarantine: Span::ZERO,
    })
}

fn resource(name: &str, limits: Vec<Limit>) -> Resource {
    Resource {
        name: ResourceName::new(name).unwrap(),
        limits,
        keys: vec![],
        dispatch_tolerance: Span::ZERO,
        settle_within: span(60),
        description: Description::default(),
        budgets: vec![],
        queueing: Queueing::default(),
        circuit_breaker: None,
        feedback: Box::default(),
        operation_costs: Vec::new(),
    }
}

fn keyed(limits: Vec<Limit>, keys: &[&str]) -> Resource {
    let limits = limits.into_iter().map(|limit| Limit { scope: Scope::Key, ..limit }).collect();
    let keys = keys.iter().map(|key| Label::new(key).unwrap()).collect();
    Resource { keys, ..resource(NAME, limits) }
}

fn limiter(stamp: Stamp, resources: impl IntoIterator<Item = Resource>) -> Limiter {
    let mut limiter = Limiter::default();
    for resource in resources {
        apply(&mut limiter, stamp, Command::from(resource));
    }
    limiter
}

fn apply(limiter: &mut Limiter, stamp: Stamp, command: Command) -> Outcome {
    let mut answers = Vec::new();
    limiter.apply(stamp, &[command], &mut answers);
    answers.remove(0).unwrap()
}

fn call() -> WorkStep {
    WorkStep {
        resource: ResourceName::new(NAME).unwrap(),
        operation: Label::default(),
        calls: 1,
        cost: 1,
        amounts: Default::default(),
        key: Label::default(),
        call_duration: span(1),
    }
}

fn calls(calls: u64) -> WorkStep {
    WorkStep { calls, ..call() }
}

fn work(steps: Vec<WorkStep>) -> Work {
    Work { consumer: Label::new("crm").unwrap(), priority: Priority::Medium, steps }
}

fn estimate(limiter: &Limiter, stamp: Stamp, steps: Vec<WorkStep>) -> WorkEstimate {
    limiter.estimate(stamp, &work(steps), &[]).unwrap()
}

/// The only step of a plan with one.
fn only(kind: LimitKind, step: WorkStep) -> StepEstimate {
    let stamp = Stamp::default();
    let limiter = limiter(stamp, [resource(NAME, vec![limit("it", kind)])]);
    estimate(&limiter, stamp, vec![step]).steps.remove(0)
}

fn holder(step: &StepEstimate) -> &str {
    step.limit.as_ref().map_or("", |limit| limit.as_str())
}

#[test]
fn fifty_thousand_records_by_the_window() {
    // 263 windows of 190 are 49,970; the rest goes when the 264th opens.
    let step = only(window(190, span(10)), calls(50_000));
    assert_eq!((step.duration, holder(&step)), (Some(span(2630)), "it"));
    assert_eq!((step.first_call_after, step.calls), (Some(Span::ZERO), 50_000));
}

#[test]
fn a_bucket_that_starts_full_saves_its_capacity() {
    let step = only(bucket(100, 10, span(1)), calls(600));
    assert_eq!(step.duration, Some(span(50)));
    let step = only(bucket(100, 10, span(1)), WorkStep { cost: 5, ..calls(20_020) });
    assert_eq!(step.duration, Some(span(10_000)));
}

#[test]
fn what_is_in_use_comes_back_first() {
    let stamp = Stamp::default();
    let mut limiter = limiter(stamp, [resource(NAME, vec![limit("it", bucket(100, 10, span(1)))])]);
    let step = call();
    let spent = Acquire { cost: 100, ..super::acquire(&step, &Label::default(), Label::default()) };
    apply(&mut limiter, stamp, Command::from(spent));
    let step = estimate(&limiter, stamp, vec![calls(600)]).steps.remove(0);
    assert_eq!(step.duration, Some(span(60)));
    assert_eq!(step.first_call_after, Some(Span::from_millis(100)));
}

#[test]
fn sub_buckets_of_a_sliding_window_count_until_they_are_outside() {
    // What is granted at a boundary counts for one sub-bucket and the period: 11 s.
    let step = only(sliding(190, span(10), 10), calls(50_000));
    assert_eq!(step.duration, Some(span(263 * 11)));
}

#[test]
fn a_daily_quota_lasts_until_midnight_on_long_days_too() {
    // It is 16:00 in New York on a Saturday; clocks go back on Sunday, which therefore has 25 hours.
    let stamp = at("2026-10-31T20:00:00Z");
    let limiter = limiter(stamp, [resource(NAME, vec![limit("daily", day(1000, "America/New_York"))])]);
    let plan = estimate(&limiter, stamp, vec![calls(2500)]);
    assert_eq!(plan.duration, Some(span(33 * 3600)));
    assert_eq!(plan.done_at, Some(at("2026-11-02T05:00:00Z").wall));
    assert_eq!(holder(&plan.steps[0]), "daily");
}

#[test]
fn what_is_left_of_a_quota_is_used_before_it_is_renewed() {
    // 74 a day, in chunks of 10, which a bucket lets through one by one.
    let stamp = Stamp::default();
    let limits = vec![limit("daily", day(74, "UTC")), limit("paced", bucket(1, 1, span(1)))];
    let limiter = limiter(stamp, [resource(NAME, limits)]);
    let step = estimate(&limiter, stamp, vec![calls(74 * 270)]).steps.remove(0);
    // The last day takes 73 s, less what the bucket saves up over night: a chunk at most.
    let last = step.duration.unwrap().0 - span(269 * 86_400).0;
    assert!((span(63)..=span(73)).contains(&Span(last)), "{}", Span(last));
    assert_eq!(holder(&step), "daily");
}

#[test]
fn slots_serve_as_many_at_a_time_as_there_are() {
    let two_seconds = |n| WorkStep { call_duration: span(2), ..calls(n) };
    // 40 rounds of 25 calls.
    let step = only(slots(25), two_seconds(1000));
    assert_eq!((step.duration, holder(&step)), (Some(span(80)), "it"));
    assert_eq!(only(slots(25), two_seconds(26)).duration, Some(span(4)));
    // In chunks.
    assert_eq!(only(slots(25), two_seconds(10_000_000)).duration, Some(span(800_000)));
    assert_eq!(
        only(slots(25), WorkStep { call_duration: Span::ZERO, ..calls(1000) }).duration,
        Some(Span::ZERO)
    );
}

#[test]
fn slots_of_others_come_free_when_their_leases_end() {
    let stamp = Stamp::default();
    let mut limiter = limiter(stamp, [resource(NAME, vec![limit("it", slots(3))])]);
    for _ in 0..3 {
        let acquire = super::acquire(&call(), &Label::default(), Label::default());
        apply(&mut limiter, stamp, Command::from(acquire));
    }
    let step = estimate(&limiter, stamp, vec![calls(6)]).steps.remove(0);
    assert_eq!((step.first_call_after, step.duration), (Some(span(60)), Some(span(62))));
}

#[test]
fn all_keys_are_used() {
    let resource = keyed(vec![limit("it", window(100, span(10)))], &["a", "b", "c", "d"]);
    let stamp = Stamp::default();
    let limiter = limiter(stamp, [resource]);
    assert_eq!(estimate(&limiter, stamp, vec![calls(4000)]).duration, Some(span(90)));
    let pinned = WorkStep { key: Label::new("b").unwrap(), ..calls(4000) };
    assert_eq!(estimate(&limiter, stamp, vec![pinned]).duration, Some(span(390)));
}

#[test]
fn the_slots_of_all_keys_are_used() {
    let stamp = Stamp::default();
    let mut limiter = limiter(stamp, [keyed(vec![limit("it", slots(2))], &["a", "b", "c"])]);
    assert_eq!(estimate(&limiter, stamp, vec![calls(60)]).duration, Some(span(10)));
    let (resource, key) = (ResourceName::new(NAME).unwrap(), Label::new("a").unwrap());
    let order = SetKeyState { resource, key: key.clone(), state: KeyState::Disabled };
    apply(&mut limiter, stamp, Command::SetKeyState(order));
    assert_eq!(estimate(&limiter, stamp, vec![calls(60)]).duration, Some(span(15)));
    let step = estimate(&limiter, stamp, vec![WorkStep { key, ..calls(60) }]).steps.remove(0);
    assert_eq!((step.duration, step.first_call_after), (None, None));
    assert!(step.impossible.is_some());
}

#[test]
fn steps_on_several_resources_go_on_side_by_side() {
    let stamp = Stamp::default();
    let other = "clearbit/acme";
    let limiter = limiter(
        stamp,
        [
            resource(NAME, vec![limit("fast", bucket(100, 100, span(1)))]),
            resource(other, vec![limit("slow", bucket(10, 10, span(1)))]),
        ],
    );
    let slow = WorkStep { resource: ResourceName::new(other).unwrap(), ..calls(1010) };
    let plan = estimate(&limiter, stamp, vec![calls(1100), slow]);
    assert_eq!((plan.duration, plan.binding_step), (Some(span(100)), 1));
    assert_eq!(plan.steps[0].duration, Some(span(10)));
}

#[test]
fn steps_on_one_resource_share_it_and_their_own_limits_hold_nobody_else() {
    let stamp = Stamp::default();
    let search = Label::new("search").unwrap();
    let own = Limit { operations: vec![search.clone()], ..limit("search", bucket(1, 1, span(1))) };
    let limiter = limiter(stamp, [resource(NAME, vec![limit("all", bucket(10, 10, span(1))), own])]);
    let searching = WorkStep { operation: search, ..calls(101) };
    let plan = estimate(&limiter, stamp, vec![searching, calls(900)]);
    assert_eq!((plan.steps[0].duration, holder(&plan.steps[0])), (Some(span(100)), "search"));
    // 10 a second, of which the searches take one.
    let others = plan.steps[1].duration.unwrap();
    assert!((span(98)..=span(100)).contains(&others), "{others}");
    assert_eq!(plan.binding_step, 0);
}

#[test]
fn those_who_wait_go_first() {
    let stamp = Stamp::default();
    let limiter = limiter(stamp, [resource(NAME, vec![limit("it", bucket(10, 10, span(1)))])]);
    let ahead = |resource: &str, consumer: &str, requests| Ahead {
        resource: ResourceName::new(resource).unwrap(),
        consumer: Label::new(consumer).unwrap(),
        requests,
    };
    let ahead = [ahead(NAME, "crm", 60), ahead(NAME, "sync", 50), ahead("other/one", "sync", 9)];
    let step = limiter.estimate(stamp, &work(vec![calls(100)]), &ahead).unwrap().steps.remove(0);
    assert_eq!((step.waiting_ahead, step.duration), (110, Some(span(20))));
    assert_eq!(step.first_call_after, Some(Span::from_millis(10_100)));
}

#[test]
fn a_pause_is_waited_out_and_one_without_an_end_is_not() {
    let stamp = Stamp::default();
    let mut limiter = limiter(stamp, [resource(NAME, vec![limit("it", bucket(10, 10, span(1)))])]);
    let mut pause = |left| {
        let (resource, key) = (ResourceName::new(NAME).unwrap(), Label::default());
        let pause = Pause { left, reason: Label::default() };
        apply(&mut limiter, stamp, Command::PauseResource(PauseResource { resource, key, pause }));
        estimate(&limiter, stamp, vec![calls(110)]).steps.remove(0)
    };
    let step = pause(Some(span(30)));
    assert_eq!((step.first_call_after, step.duration), (Some(span(30)), Some(span(40))));
    let step = pause(None);
    assert_eq!(step.impossible.as_deref(), Some("`hubspot/acme` is paused until somebody resumes it"));
}

#[test]
fn what_a_vendor_holds_is_waited_out_and_comes_back_by_its_ramp() {
    let (stamp, operation) = (Stamp::default(), Label::new("search").unwrap());
    let search = Limit { operations: vec![operation.clone()], ..limit("search", bucket(10, 10, span(1))) };
    let mut limiter = limiter(stamp, [resource(NAME, vec![search, limit("all", bucket(100, 100, span(1)))])]);
    let step = WorkStep { operation: operation.clone(), ..calls(40) };
    let exhausted = vec![LimitName::new("search").unwrap()];
    let report = Report {
        resource: step.resource.clone(),
        key: Label::default(),
        permit: None,
        outcome: CallOutcome::Throttled,
        answer: VendorAnswer { wait: Some(span(5)), exhausted, ..VendorAnswer::default() },
        operation,
        consumer: Label::default(),
        subject: Label::default(),
    };
    apply(&mut limiter, stamp, Command::from(report));
    let estimated = estimate(&limiter, stamp, vec![step.clone(), calls(1)]).steps;
    assert_eq!(estimated[0].first_call_after, Some(span(5)));
    assert_eq!(estimated[1].first_call_after, Some(Span::ZERO));

    let (mut now, mut gone) = (stamp, 0);
    while gone < 40 {
        let call = super::acquire(&step, &Label::default(), Label::default());
        match apply(&mut limiter, now, Command::from(call)) {
            Outcome::Denied(denial) => now = now.after(denial.retry_after.unwrap()),
            _ => gone += 1,
        }
    }
    assert_eq!(estimated[0].duration, Some(now.cluster.since(stamp.cluster)));
    assert!(now.cluster > stamp.after(span(10)).cluster, "all at once");
}

#[test]
fn a_batch_that_needs_more_than_the_quota_is_impossible_and_says_so() {
    let stamp = Stamp::default();
    let limiter = limiter(stamp, [resource(NAME, vec![limit("daily", day(1000, "UTC"))])]);
    let plan = estimate(&limiter, stamp, vec![call(), WorkStep { cost: 5000, ..calls(3) }]);
    assert_eq!((plan.duration, plan.done_at, plan.binding_step), (None, None, 1));
    assert_eq!(holder(&plan.steps[1]), "daily");
    let problem = plan.steps[1].impossible.as_deref().unwrap();
    assert!(problem.contains("at most 1000, the most that limit `daily` ever grants"), "{problem}");
    assert_eq!(plan.steps[0].duration, Some(Span::ZERO));
}

#[test]
fn what_takes_more_than_the_horizon_is_impossible() {
    for kind in [day(1000, "UTC"), window(1, span(60)), bucket(1, 1, span(60)), slots(1)] {
        let step = only(kind, WorkStep { call_duration: span(60), ..calls(1_000_000) });
        let problem = step.impossible.unwrap();
        assert_eq!(problem, format!("it would take more than {HORIZON}"));
        assert_eq!(step.limit.unwrap().as_str(), "it");
    }
    // 400 days exactly.
    assert_eq!(only(day(1000, "UTC"), calls(401_000)).duration, Some(HORIZON));
}

#[test]
fn any_number_of_records_takes_a_bounded_time_to_plan_and_is_right() {
    let near = |step: StepEstimate, seconds: u64| {
        let duration = step.duration.unwrap().0 / NANOS_PER_SECOND;
        assert!(duration.abs_diff(seconds) * 1000 <= seconds, "{duration} for {seconds}");
    };
    let many = 1_000_000_000;
    near(only(window(1900, span(10)), calls(many)), 5_263_150);
    near(only(bucket(7, 190, span(1)), calls(many)), many / 190);
    near(only(sliding(1900, span(10), 10), calls(many)), 526_315 * 11);
    let leaky = LimitKind::LeakyBucket(LeakyBucket { amount: 1, period: Span::from_millis(10) });
    near(only(leaky, calls(many)), many / 100);
    near(only(slots(100), WorkStep { call_duration: span(2), ..calls(many) }), many / 50);
}

#[test]
fn what_makes_no_sense_names_its_field() {
    let stamp = Stamp::default();
    let by_consumer = Limit { scope: Scope::Consumer, ..limit("each", bucket(10, 10, span(1))) };
    let limiter = limiter(stamp, [resource(NAME, vec![limit("it", bucket(1, 1, span(1))), by_consumer])]);
    let rejected = |work: Work| limiter.estimate(stamp, &work, &[]).unwrap_err();
    let field = |work: Work| match rejected(work) {
        WorkRejection { step: 1, rejection: Rejection::Invalid(violation) } => violation.field,
        other => panic!("{other:?}"),
    };
    let blue = Label::new("blue").unwrap();
    assert_eq!(field(work(vec![call(), WorkStep { key: blue, ..call() }])), "key");
    let amounts = [(Dimension::new("tokens").unwrap(), 5)].into();
    assert_eq!(field(work(vec![call(), WorkStep { amounts, ..call() }])), "amounts[\"tokens\"]");
    let nobody = Work { consumer: Label::default(), ..work(vec![call()]) };
    let expected = |step| matches!(step, WorkRejection { step: 0, rejection: Rejection::Invalid(_) });
    assert!(expected(rejected(nobody)));
    let elsewhere = WorkStep { resource: ResourceName::new("no/where").unwrap(), ..call() };
    let nowhere = WorkRejection { step: 1, rejection: Rejection::ResourceNotFound };
    assert_eq!(rejected(work(vec![call(), elsewhere])), nowhere);
}
