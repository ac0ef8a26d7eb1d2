//! The rules of a resource's budgets and of its queue. See `validate.rs`.

use std::{collections::BTreeMap, collections::BTreeSet};

use super::{
    Budget, BudgetShare, Label, LimitKind, LimitName, OpenHours, Resource, Schedule, Scope, Span,
    validate::Check,
};

impl Budget {
    /// Patterns of a budget's consumers.
    pub const MAX_CONSUMERS: usize = 32;
    /// The greatest weight.
    pub const MAX_WEIGHT: u32 = 1_000;
    /// Hours of a budget's schedule.
    pub const MAX_HOURS: usize = 32;
}

impl Resource {
    /// Budgets of a resource. Each request is checked against the reserves of all of them.
    pub const MAX_BUDGETS: usize = 32;
    /// The greatest `max_waiters`.
    pub const MAX_WAITERS: u32 = 200_000;

    pub(super) fn check_budgets(&self, check: &mut Check) {
        check.range("budgets", "", self.budgets.len(), 0, Self::MAX_BUDGETS);
        let mut names = BTreeSet::new();
        let mut reserved = BTreeMap::new();
        for (index, budget) in self.budgets.iter().enumerate() {
            let path = format!("budgets[{index}]");
            if !names.insert(&budget.name) {
                check.fails(&path, "name", format!("`{}` names another budget already", budget.name));
            }
            if budget.unbudgeted && self.budgets[..index].iter().any(|other| other.unbudgeted) {
                check.fails(&path, "unbudgeted", "another budget is for those that nobody budgeted already");
            }
            budget.check(&path, check);
            self.check_shares(budget, &path, &mut reserved, check);
        }
    }

    pub(super) fn check_queueing(&self, check: &mut Check) {
        let queueing = &self.queueing;
        check.range("max_waiters", "", queueing.max_waiters, 1, Self::MAX_WAITERS);
        let most = queueing.max_waiters.max(1);
        check.range("max_waiters_per_consumer", "", queueing.max_waiters_per_consumer, 1, most);
        check.range("ageing", "", queueing.ageing, Span::from_secs(1), Span::from_secs(3600));
    }

    /// `reserved` is what the budgets so far reserve of each limit.
    fn check_shares<'a>(
        &'a self,
        budget: &'a Budget,
        path: &str,
        reserved: &mut BTreeMap<&'a LimitName, u64>,
        check: &mut Check,
    ) {
        for (index, share) in budget.shares.iter().enumerate() {
            let path = format!("{path}.shares[{index}]");
            if budget.shares[..index].iter().any(|other| other.limit == share.limit) {
                check.fails(&path, "limit", format!("`{}` has a share here already", share.limit));
            }
            share.check(&path, check);
            let Some(limit) = self.limits.iter().find(|limit| limit.name == share.limit) else {
                check.fails(&path, "limit", format!("`{}` is no limit of the resource", share.limit));
                continue;
            };
            if matches!(limit.scope, Scope::Consumer | Scope::Subject) {
                let problem = format!("`{}` counts each consumer or subject by itself", limit.name);
                check.fails(&path, "limit", problem);
            }
            share.check_amounts(&path, &limit.kind, check);
            let sum = reserved.entry(&share.limit).or_insert(0);
            *sum += u64::from(share.reserve_percent);
            if *sum > 100 {
                let problem =
                    format!("the reserves of limit `{}` add up to {sum} %, more than 100", share.limit);
                check.fails(&path, "reserve_percent", problem);
            }
        }
    }
}

impl Budget {
    fn check(&self, path: &str, check: &mut Check) {
        match self.unbudgeted {
            true if !self.consumers.is_empty() => {
                check.fails(
                    path,
                    "consumers",
                    "must be empty: `unbudgeted` is for all that no patterns match",
                );
            }
            true => {}
            false => check.range(path, "consumers", self.consumers.len(), 1, Self::MAX_CONSUMERS),
        }
        for index in (0..self.consumers.len()).filter(|index| Label::is_empty(&self.consumers[*index])) {
            check.fails(path, &format!("consumers[{index}]"), "must not be empty; `**` matches everything");
        }
        check.range(path, "weight", self.weight, 1, Self::MAX_WEIGHT);
        if let Some(schedule) = &self.schedule {
            schedule.check(&format!("{path}.schedule"), check);
        }
    }
}

impl BudgetShare {
    fn check(&self, path: &str, check: &mut Check) {
        check.range(path, "reserve_percent", self.reserve_percent, 0, 100);
        check.range(path, "ceiling_percent", self.ceiling_percent, 1, 100);
        if self.ceiling_percent < self.reserve_percent {
            check.fails(
                path,
                "ceiling_percent",
                format!("must be at least the reserve, {}", self.reserve_percent),
            );
        }
    }

    /// What the percentages come to.
    fn check_amounts(&self, path: &str, kind: &LimitKind, check: &mut Check) {
        if matches!(kind, LimitKind::LeakyBucket(_)) && self.reserve_percent > 0 {
            check.fails(
                path,
                "reserve_percent",
                "must be 0 for a leaky bucket, which has nothing to set aside",
            );
        }
        for (field, percent) in
            [("reserve_percent", self.reserve_percent), ("ceiling_percent", self.ceiling_percent)]
        {
            if percent > 0 && kind.amount() > 0 && kind.percent(percent.min(100)) == 0 {
                let problem = format!("{percent} % of {} is less than 1", kind.amount());
                check.fails(path, field, problem);
            }
        }
    }
}

impl Schedule {
    fn check(&self, path: &str, check: &mut Check) {
        check.range(path, "open", self.open.len(), 1, Budget::MAX_HOURS);
        for (index, hours) in self.open.iter().enumerate() {
            let path = format!("{path}.open[{index}]");
            if !(1..=OpenHours::ALL_WEEKDAYS).contains(&hours.weekdays) {
                check.fails(&path, "weekdays", "must be days of the week");
            }
            if !OpenHours::FROM.contains(&hours.from) {
                check.fails(&path, "from", "must be 00:00 to 23:59");
            }
            if !OpenHours::TO.contains(&hours.to) {
                check.fails(&path, "to", "must be 00:01 to 24:00");
            }
        }
    }
}
