//! Budgets and queueing, from the wire and for it.

use tollgate_limiter::{
    Budget, BudgetFigures, BudgetName, BudgetShare, BudgetUse, ConsumerFigures, ConsumerUse, Label,
    LimitName, OpenHours, Queueing, Schedule, TimeZoneName,
};
use tollgate_proto::v1;

use super::{Fields, definition::each, duration};

const WEEKDAYS: &str = "WEEKDAY_MONDAY to WEEKDAY_SUNDAY";
const MIDNIGHT: &str = "24:00";
const MINUTES_PER_DAY: u16 = 24 * 60;

/// Reads a budget.
pub fn budget(fields: &mut Fields, path: &str, wire: v1::Budget) -> Option<Budget> {
    let at = |field: &str| format!("{path}.{field}");
    let name = fields.name(&at("name"), BudgetName::new(&wire.name));
    let consumers = each(wire.consumers, |index, pattern| {
        fields.name(&at(&format!("consumers[{index}]")), Label::new(&pattern))
    });
    let shares = each(wire.shares, |index, wire| share(fields, &at(&format!("shares[{index}]")), wire));
    let schedule = wire.schedule.map(|wire| schedule(fields, &at("schedule"), wire));
    Some(Budget {
        name: name?,
        consumers: consumers?,
        unbudgeted: wire.unbudgeted,
        weight: if wire.weight == 0 { 1 } else { wire.weight },
        shares: shares?,
        schedule: match schedule {
            Some(schedule) => Some(schedule?),
            None => None,
        },
    })
}

fn share(fields: &mut Fields, path: &str, wire: v1::BudgetShare) -> Option<BudgetShare> {
    Some(BudgetShare {
        limit: fields.name(&format!("{path}.limit"), LimitName::new(&wire.limit))?,
        reserve_percent: wire.reserve_percent,
        ceiling_percent: wire.ceiling_percent.unwrap_or(100),
    })
}

fn schedule(fields: &mut Fields, path: &str, wire: v1::Schedule) -> Option<Schedule> {
    let zone = if wire.time_zone.is_empty() { "UTC" } else { &wire.time_zone };
    let time_zone = fields.name(&format!("{path}.time_zone"), TimeZoneName::new(zone));
    let open = each(wire.open, |index, hours| open_hours(fields, &format!("{path}.open[{index}]"), &hours));
    Some(Schedule { time_zone: time_zone?, open: open? })
}

fn open_hours(fields: &mut Fields, path: &str, wire: &v1::OpenHours) -> Option<OpenHours> {
    let at = |field: &str| format!("{path}.{field}");
    let mut weekdays = if wire.weekdays.is_empty() { OpenHours::ALL_WEEKDAYS } else { 0 };
    for (index, &number) in wire.weekdays.iter().enumerate() {
        let field = at(&format!("weekdays[{index}]"));
        match fields.variant(&field, number, WEEKDAYS)? {
            v1::Weekday::Unspecified => fields.reject(field, format_args!("must be {WEEKDAYS}")),
            // Monday is 1 on the wire.
            weekday => weekdays |= 1u8 << (weekday as i32 - 1),
        }
    }
    let from = if wire.from.is_empty() { "00:00" } else { &wire.from };
    let to = if wire.to.is_empty() { MIDNIGHT } else { &wire.to };
    let from = time_of_day(fields, &at("from"), from);
    let to = time_of_day(fields, &at("to"), to).map(|to| if to == 0 { MINUTES_PER_DAY } else { to });
    Some(OpenHours { weekdays, from: from?, to: to? })
}

/// `18:30` as minutes.
fn time_of_day(fields: &mut Fields, field: &str, text: &str) -> Option<u16> {
    let parsed = parse_time(text);
    if parsed.is_none() {
        fields
            .reject(field, format_args!("must be a time of day such as 18:30, 00:00 to 24:00, not `{text}`"));
    }
    parsed
}

fn parse_time(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |digits: &str| {
        let plain = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse::<u16>().ok()).flatten()
    };
    let minutes = number(hour)? * 60 + number(minute).filter(|minute| *minute < 60)?;
    (minutes <= MINUTES_PER_DAY).then_some(minutes)
}

/// Reads how requests wait, with the defaults that `resource.proto` states.
pub fn queueing(fields: &mut Fields, wire: &v1::Resource) -> Queueing {
    let default = Queueing::default();
    let max_waiters = if wire.max_waiters == 0 { default.max_waiters } else { wire.max_waiters };
    let max_waiters_per_consumer = match wire.max_waiters_per_consumer {
        0 => waiters_per_consumer(max_waiters),
        given => given,
    };
    let ageing = fields.span_or("ageing", wire.ageing, default.ageing);
    Queueing { max_waiters, max_waiters_per_consumer, ageing }
}

/// The default: half of all, rounded up.
pub fn waiters_per_consumer(max_waiters: u32) -> u32 {
    max_waiters.div_ceil(2)
}

/// A budget for the wire, with its defaults spelt out.
pub fn budget_to_wire(budget: Budget) -> v1::Budget {
    v1::Budget {
        name: budget.name.to_string(),
        consumers: budget.consumers.iter().map(ToString::to_string).collect(),
        unbudgeted: budget.unbudgeted,
        weight: budget.weight,
        shares: budget.shares.into_iter().map(share_to_wire).collect(),
        schedule: budget.schedule.map(|schedule| v1::Schedule {
            time_zone: schedule.time_zone.to_string(),
            open: schedule.open.iter().map(open_hours_to_wire).collect(),
        }),
    }
}

fn share_to_wire(share: BudgetShare) -> v1::BudgetShare {
    v1::BudgetShare {
        limit: share.limit.to_string(),
        reserve_percent: share.reserve_percent,
        ceiling_percent: Some(share.ceiling_percent),
    }
}

fn open_hours_to_wire(hours: &OpenHours) -> v1::OpenHours {
    let all = hours.weekdays == OpenHours::ALL_WEEKDAYS;
    let weekdays = (0..7).filter(|day| !all && hours.weekdays & (1 << day) != 0).map(|day| day + 1);
    let time = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
    v1::OpenHours { weekdays: weekdays.collect(), from: time(hours.from), to: time(hours.to) }
}

/// A budget's live figures.
pub fn budget_figures(figures: BudgetFigures) -> v1::BudgetFigures {
    v1::BudgetFigures {
        budget: figures.budget.to_string(),
        open: figures.open,
        changes_in: figures.changes_in.map(duration),
        uses: figures.uses.into_iter().map(budget_use).collect(),
    }
}

fn budget_use(of: BudgetUse) -> v1::BudgetUse {
    v1::BudgetUse {
        limit: of.limit.to_string(),
        scope_value: of.scope_value.to_string(),
        reserve: of.reserve,
        reserve_left: of.reserve_left,
        ceiling: of.ceiling,
        used: of.used,
    }
}

/// A consumer's live figures.
pub fn consumer_figures(figures: ConsumerFigures) -> v1::ConsumerFigures {
    let [waiting_low, waiting_medium, waiting_high] = figures.waiting;
    let used = |of: ConsumerUse| v1::ConsumerUse { limit: of.limit.to_string(), used: of.used };
    v1::ConsumerFigures {
        consumer: figures.consumer.to_string(),
        budget: figures.budget.map(|budget| budget.to_string()).unwrap_or_default(),
        waiting_high,
        waiting_medium,
        waiting_low,
        oldest_wait: figures.oldest_wait.map(duration),
        uses: figures.uses.into_iter().map(used).collect(),
    }
}
