//! Random budgets.

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::label;
use crate::model::*;

/// A budget as far as it does not depend on the limits: of each that can have shares, it has these percentages.
#[derive(Clone, Debug)]
pub(super) struct BudgetWish {
    consumers: Option<Label>,
    percents: Vec<(u32, u32)>,
    schedule: Option<Schedule>,
}

impl BudgetWish {
    /// The budget of that number. Of what is too little to be divided it has no share.
    pub(super) fn of(self, index: usize, limits: &[Limit]) -> Budget {
        let shares =
            limits.iter().zip(self.percents.iter().cycle()).filter_map(|(limit, (reserve, ceiling))| {
                let leaky = matches!(limit.kind, LimitKind::LeakyBucket(_));
                let share = BudgetShare {
                    limit: limit.name.clone(),
                    reserve_percent: if leaky { 0 } else { *reserve },
                    ceiling_percent: *ceiling,
                };
                let divides = |percent| percent == 0 || limit.kind.percent(percent) > 0;
                let divided = divides(share.reserve_percent) && divides(share.ceiling_percent);
                (divided && matches!(limit.scope, Scope::Resource | Scope::Key)).then_some(share)
            });
        let shares = shares.collect();
        // Only one can be for those that nobody budgeted.
        let unbudgeted = index == 0 && self.consumers.is_none();
        let named = self.consumers.unwrap_or_else(|| Label::new("export").unwrap());
        Budget {
            name: BudgetName::new(&format!("budget-{index}")).unwrap(),
            consumers: if unbudgeted { vec![] } else { vec![named] },
            unbudgeted,
            weight: 1,
            shares,
            schedule: self.schedule,
        }
    }
}

/// Some, with hours that begin and end while a log is walked.
pub(super) fn budget() -> impl Strategy<Value = BudgetWish> + Clone {
    let consumers = option::weighted(0.7, label(&["sync", "export", "s*"]));
    let percents = vec((select(vec![0u32, 0, 20, 33]), select(vec![40u32, 75, 100, 100])), 1..4);
    let hours = |from, to| OpenHours { weekdays: OpenHours::ALL_WEEKDAYS, from, to };
    let schedule =
        select(vec![vec![hours(0, 983)], vec![hours(980, 1440)], vec![hours(970, 975), hours(978, 990)]])
            .prop_map(|open| Schedule { time_zone: TimeZoneName::new("UTC").unwrap(), open });
    (consumers, percents, option::weighted(0.3, schedule))
        .prop_map(|(consumers, percents, schedule)| BudgetWish { consumers, percents, schedule })
}
