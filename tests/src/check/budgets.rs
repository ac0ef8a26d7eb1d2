//! What budgets leave of slots: who has used up its ceiling gets none, and what others have in reserve and do not use is
//! theirs.

use tollgate_limiter::{Budget, Label, Limit, Resource};

use super::terms::glob;

/// Whether one more slot for `consumer` is left, beside those whose consumers are `holders`. The error says what is not.
pub(super) fn leave_a_slot(
    resource: &Resource,
    limit: &Limit,
    slots: u32,
    holders: &[&Label],
    consumer: &Label,
) -> Result<(), String> {
    let own = budget_of(resource, consumer);
    let held = |budget: &Budget| {
        let of_it = |holder: &&&Label| budget_of(resource, holder).is_some_and(|b| b.name == budget.name);
        holders.iter().filter(of_it).count() as u64
    };
    let percent = |percent: u32| u64::from(slots) * u64::from(percent) / 100;
    let share = |budget: &Budget| budget.shares.iter().find(|share| share.limit == limit.name).cloned();
    if let Some((budget, share)) = own.and_then(|budget| Some((budget, share(budget)?))) {
        let (held, ceiling) = (held(budget), percent(share.ceiling_percent));
        if held >= ceiling {
            return Err(format!("budget {} is given a slot while it has {held} of {ceiling}", budget.name));
        }
        if held < percent(share.reserve_percent) {
            return Ok(());
        }
    }
    let others = resource.budgets.iter().filter(|budget| own.is_none_or(|own| own.name != budget.name));
    let reserved = others.filter(|budget| budget.schedule.is_none()).map(|budget| {
        share(budget).map_or(0, |share| percent(share.reserve_percent).saturating_sub(held(budget)))
    });
    let (taken, reserved) = (holders.len() as u64, reserved.sum::<u64>());
    match taken + reserved < u64::from(slots) {
        true => Ok(()),
        false => {
            Err(format!("a slot is given while {taken} of {slots} are taken and {reserved} are reserved"))
        }
    }
}

/// The first whose pattern matches, else the one for all others.
fn budget_of<'a>(resource: &'a Resource, consumer: &Label) -> Option<&'a Budget> {
    let matches = |pattern: &Label| glob(pattern.as_str().as_bytes(), consumer.as_str().as_bytes());
    let named = resource.budgets.iter().find(|budget| budget.consumers.iter().any(matches));
    named.or_else(|| resource.budgets.iter().find(|budget| budget.unbudgeted))
}

#[cfg(test)]
mod tests {
    use tollgate_limiter::{BudgetShare, LimitName};

    use super::{super::story::*, *};

    #[test]
    fn a_reserve_is_kept_and_a_ceiling_is_not_passed() {
        let mut resource = slots(4);
        let limit = resource.limits[0].clone();
        let share = |reserve_percent, ceiling_percent| {
            vec![BudgetShare { limit: limit.name.clone(), reserve_percent, ceiling_percent }]
        };
        let budget = |name, pattern, shares| Budget {
            name: LimitName::new(name).unwrap(),
            consumers: vec![Label::new(pattern).unwrap()],
            unbudgeted: false,
            weight: 1,
            shares,
            schedule: None,
        };
        resource.budgets = vec![budget("sync", "crm/*", share(50, 75)), budget("rest", "*", vec![])];
        let (sync, other) = (Label::new("crm/sync").unwrap(), Label::new("ui").unwrap());
        let leaves = |holders: &[&Label], consumer: &Label| {
            leave_a_slot(&resource, &limit, 4, holders, consumer).is_ok()
        };
        assert!(leaves(&[&other], &other), "two are reserved");
        assert!(!leaves(&[&other, &other], &other), "the last two are reserved");
        assert!(leaves(&[&other, &sync], &sync), "its reserve covers it");
        assert!(leaves(&[&sync, &sync, &other], &other), "the reserve is in use");
        assert!(!leaves(&[&sync, &sync, &sync], &sync), "its ceiling is three");
    }
}
