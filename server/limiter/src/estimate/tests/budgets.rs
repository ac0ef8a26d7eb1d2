//! Plans of consumers that have budgets.

use super::*;

fn budget(name: &str, limit: &str, reserve_percent: u32, ceiling_percent: u32) -> Budget {
    let limit = LimitName::new(limit).unwrap();
    Budget {
        name: BudgetName::new(name).unwrap(),
        consumers: vec![Label::new(name).unwrap()],
        unbudgeted: false,
        weight: 1,
        shares: vec![BudgetShare { limit, reserve_percent, ceiling_percent }],
        schedule: None,
    }
}

/// The plan of the consumer `crm`.
fn planned(stamp: Stamp, kind: LimitKind, budgets: Vec<Budget>, step: WorkStep) -> StepEstimate {
    let limiter = limiter(stamp, [Resource { budgets, ..resource(NAME, vec![limit("it", kind)]) }]);
    estimate(&limiter, stamp, vec![step]).steps.remove(0)
}

fn now(kind: LimitKind, budgets: Vec<Budget>, step: WorkStep) -> StepEstimate {
    planned(Stamp::default(), kind, budgets, step)
}

#[test]
fn a_ceiling_is_what_holds_up() {
    let step = now(window(100, span(10)), vec![budget("crm", "it", 0, 25)], calls(1000));
    assert_eq!((step.duration, holder(&step)), (Some(span(390)), "it"));
    assert_eq!(step.budget_cause, Some(BudgetCause::Ceiling));
    // In chunks, and in windows that are longer than the limit's.
    let step = now(window(100, span(10)), vec![budget("crm", "it", 0, 25)], calls(1_000_000));
    assert!(step.duration.unwrap().0.abs_diff(span(400_000).0) < span(400).0, "{step:?}");
    let step = now(bucket(100, 100, span(1)), vec![budget("crm", "it", 0, 25)], calls(1_000_025));
    assert!(step.duration.unwrap().0.abs_diff(span(40_000).0) < span(40).0, "{step:?}");
}

#[test]
fn what_is_reserved_for_others_is_not_planned_with() {
    let step = now(window(100, span(10)), vec![budget("sales", "it", 60, 100)], calls(400));
    assert_eq!((step.duration, step.budget_cause), (Some(span(90)), Some(BudgetCause::Reserve)));
    let step =
        now(window(100, span(10)), vec![budget("sales", "it", 60, 100)], WorkStep { cost: 41, ..call() });
    assert_eq!((step.duration, holder(&step)), (None, "it"));
    assert!(step.impossible.unwrap().contains("at most 40"));
    let step = now(window(100, span(10)), vec![budget("sales", "it", 100, 100)], call());
    assert!(step.impossible.unwrap().contains("reserved for other budgets"));
}

#[test]
fn slots_are_those_that_the_budget_has() {
    let two_seconds = |n| WorkStep { call_duration: span(2), ..calls(n) };
    assert_eq!(now(slots(20), vec![budget("crm", "it", 0, 25)], two_seconds(50)).duration, Some(span(20)));
    let kept = vec![budget("sales", "it", 50, 100), budget("crm", "it", 0, 100)];
    assert_eq!(now(slots(20), kept, two_seconds(50)).duration, Some(span(10)));
}

#[test]
fn others_that_hold_what_is_reserved_for_them_take_nothing_more() {
    let stamp = Stamp::default();
    let budgets = vec![budget("sales", "it", 50, 100)];
    let mut limiter = limiter(stamp, [Resource { budgets, ..resource(NAME, vec![limit("it", slots(4))]) }]);
    let mut hold = |times: usize| {
        for _ in 0..times {
            let call = super::super::acquire(&call(), &Label::new("sales").unwrap(), Label::default());
            apply(&mut limiter, stamp, Command::from(call));
        }
        estimate(&limiter, stamp, vec![calls(8)]).steps.remove(0).duration
    };
    assert_eq!(hold(0), Some(span(4)));
    assert_eq!(hold(2), Some(span(4)));
    // The third is one that the work could have had, until its lease ends.
    assert_eq!(hold(1), Some(span(8)));
}

#[test]
fn a_budget_that_opens_later_begins_later_and_goes_on_the_next_day() {
    let hours = OpenHours { weekdays: 0b111_1111, from: 8 * 60, to: 18 * 60 };
    let schedule = Schedule { time_zone: TimeZoneName::new("Europe/Berlin").unwrap(), open: vec![hours] };
    let crm = Budget { schedule: Some(schedule), shares: vec![], ..budget("crm", "it", 0, 100) };
    let plan = |count| {
        // 6:00 in Berlin, where clocks go forward in the night to the 29th.
        planned(at("2026-03-28T05:00:00Z"), bucket(1, 1, span(1)), vec![crm.clone()], calls(count))
    };
    let step = plan(36_000);
    assert_eq!(step.first_call_after, Some(span(2 * 3600)));
    // Ten hours of one a second.
    assert!(step.duration.unwrap().0.abs_diff(span(12 * 3600).0) <= span(18).0, "{step:?}");
    let step = plan(39_600);
    // A night of 14 hours less one, and one hour more.
    assert!(step.duration.unwrap().0.abs_diff(span(26 * 3600).0) <= span(60).0, "{step:?}");
    assert_eq!(step.budget_cause, Some(BudgetCause::Schedule));
}
