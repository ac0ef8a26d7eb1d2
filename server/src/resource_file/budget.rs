//! Budgets in TOML, both ways.
//!
//! ```toml
//! [[resource.budget]]
//! name = "crm"
//! consumers = ["crm/*"]
//! share = [{ limit = "daily", reserve_percent = 40, ceiling_percent = 80 }]
//! schedule.time_zone = "Europe/Berlin"
//! schedule.open = [{ weekdays = ["monday", "tuesday"], from = "08:00", to = "18:00" }]
//! ```

use tollgate_proto::v1;

use super::{limit::required, words::WEEKDAYS, write::Lines};
use crate::toml_reader::{Reader, Section, unknown};

pub fn read<'i>(reader: &mut Reader<'i>, mut section: Section<'_, 'i>) -> v1::Budget {
    let shares = reader.sections(&mut section, "share");
    let budget = v1::Budget {
        name: required(reader, &mut section, "name"),
        consumers: reader.texts(&mut section, "consumers").unwrap_or_default(),
        unbudgeted: reader.boolean(&mut section, "unbudgeted").unwrap_or_default(),
        weight: reader.integer(&mut section, "weight").unwrap_or_default(),
        shares: shares.into_iter().map(|section| share(reader, section)).collect(),
        schedule: reader.section(&mut section, "schedule").map(|section| schedule(reader, section)),
    };
    reader.finish(section);
    budget
}

fn share<'i>(reader: &mut Reader<'i>, mut section: Section<'_, 'i>) -> v1::BudgetShare {
    let share = v1::BudgetShare {
        limit: required(reader, &mut section, "limit"),
        reserve_percent: reader.integer(&mut section, "reserve_percent").unwrap_or_default(),
        ceiling_percent: reader.integer(&mut section, "ceiling_percent"),
    };
    reader.finish(section);
    share
}

fn schedule<'i>(reader: &mut Reader<'i>, mut section: Section<'_, 'i>) -> v1::Schedule {
    let open = reader.sections(&mut section, "open");
    let schedule = v1::Schedule {
        time_zone: reader.text(&mut section, "time_zone").unwrap_or_default(),
        open: open.into_iter().map(|section| open_hours(reader, section)).collect(),
    };
    reader.finish(section);
    schedule
}

fn open_hours<'i>(reader: &mut Reader<'i>, mut section: Section<'_, 'i>) -> v1::OpenHours {
    let mut weekdays = Vec::new();
    for word in reader.texts(&mut section, "weekdays").unwrap_or_default() {
        match WEEKDAYS.iter().find(|(known, _)| *known == word) {
            Some((_, weekday)) => weekdays.push((*weekday).into()),
            None => {
                reader.reject(&section, "weekdays", unknown(&word, WEEKDAYS.iter().map(|(known, _)| *known)))
            }
        }
    }
    let hours = v1::OpenHours {
        weekdays,
        from: reader.text(&mut section, "from").unwrap_or_default(),
        to: reader.text(&mut section, "to").unwrap_or_default(),
    };
    reader.finish(section);
    hours
}

pub fn write(budget: &v1::Budget) -> String {
    let mut lines = Lines::table("[[resource.budget]]");
    lines.text("name", &budget.name);
    lines.texts("consumers", &budget.consumers);
    if budget.unbudgeted {
        lines.value("unbudgeted", true);
    }
    if budget.weight > 1 {
        lines.number("weight", budget.weight.into());
    }
    let mut tables = vec![lines.into_text()];
    tables.extend(budget.shares.iter().map(write_share));
    if let Some(schedule) = &budget.schedule {
        let mut lines = Lines::table("[resource.budget.schedule]");
        lines.text("time_zone", &schedule.time_zone);
        tables.push(lines.into_text());
        tables.extend(schedule.open.iter().map(write_hours));
    }
    tables.join("\n")
}

fn write_share(share: &v1::BudgetShare) -> String {
    let mut lines = Lines::table("[[resource.budget.share]]");
    lines.text("limit", &share.limit);
    lines.number("reserve_percent", share.reserve_percent.into());
    if let Some(ceiling) = share.ceiling_percent.filter(|ceiling| *ceiling != 100) {
        lines.value("ceiling_percent", i64::from(ceiling));
    }
    lines.into_text()
}

fn write_hours(hours: &v1::OpenHours) -> String {
    let mut lines = Lines::table("[[resource.budget.schedule.open]]");
    let words = hours.weekdays().filter_map(|weekday| WEEKDAYS.iter().find(|(_, known)| *known == weekday));
    lines.texts("weekdays", &words.map(|(word, _)| (*word).to_owned()).collect::<Vec<_>>());
    lines.text("from", &hours.from);
    lines.text("to", &hours.to);
    lines.into_text()
}
