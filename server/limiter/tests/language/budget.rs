//! Budgets in scripts: see `parse.rs`.

use tollgate_limiter::{Budget, BudgetName, BudgetShare, LimitName, OpenHours, Schedule, TimeZoneName};

use super::{Fields, Parsed, label, required};

pub fn budget(text: &str) -> Parsed<Budget> {
    let mut words = text.split(' ').filter(|word| !word.is_empty());
    let name = BudgetName::new(required(words.next(), "the budget's name")?)?;
    let mut fields = Fields(words.map(|word| word.split_once('=').unwrap_or((word, ""))).collect());
    let mut list = |key| fields.0.remove(key).map_or(vec![], |list| list.split(',').collect::<Vec<_>>());
    let (consumers, shares, open) = (list("consumers"), list("shares"), list("open"));
    let zone = fields.0.remove("zone").unwrap_or("UTC");
    let schedule = Schedule {
        time_zone: TimeZoneName::new(zone)?,
        open: open.into_iter().map(open_hours).collect::<Parsed<_>>()?,
    };
    let budget = Budget {
        name,
        consumers: consumers.into_iter().map(label).collect::<Parsed<_>>()?,
        unbudgeted: fields.0.remove("unbudgeted").is_some(),
        weight: fields.optional("weight", |weight| Ok(weight.parse()?))?.unwrap_or(1),
        shares: shares.into_iter().map(share).collect::<Parsed<_>>()?,
        schedule: (!schedule.open.is_empty()).then_some(schedule),
    };
    fields.finish("a budget")?;
    Ok(budget)
}

/// `daily:20..60`: the reserve and the ceiling.
fn share(text: &str) -> Parsed<BudgetShare> {
    let (limit, percents) = text.split_once(':').ok_or("shares are limit:reserve..ceiling")?;
    let (reserve, ceiling) = percents.split_once("..").ok_or("shares are limit:reserve..ceiling")?;
    Ok(BudgetShare {
        limit: LimitName::new(limit)?,
        reserve_percent: reserve.parse()?,
        ceiling_percent: ceiling.parse()?,
    })
}

/// `08:00-18:00`, on all days, or `mon+fri@08:00-18:00`.
fn open_hours(text: &str) -> Parsed<OpenHours> {
    const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let (days, hours) = text.split_once('@').unwrap_or(("mon+tue+wed+thu+fri+sat+sun", text));
    let day = |day| DAYS.iter().position(|known| *known == day).ok_or(format!("unknown day {day}"));
    let weekdays = days.split('+').map(day).try_fold(0, |days, day| day.map(|day| days | 1u8 << day))?;
    let minute = |text: &str| -> Parsed<u16> {
        let (hour, minute) = text.split_once(':').ok_or("times are hour:minute")?;
        Ok(hour.parse::<u16>()? * 60 + minute.parse::<u16>()?)
    };
    let (from, to) = hours.split_once('-').ok_or("hours are from-to")?;
    Ok(OpenHours { weekdays, from: minute(from)?, to: minute(to)? })
}
