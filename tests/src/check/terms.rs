//! What a permit takes from the limits of its resource.

use std::collections::BTreeMap;

use tollgate_limiter::{
    Acquire, CallOutcome, Dimension, Grant, Label, Limit, LimitKind, PermitId, Release, ResourceName, Scope,
};

/// What a permit was granted for.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Of which resource.
    pub resource: &'a ResourceName,
    operation: &'a Label,
    cost: u64,
    amounts: &'a BTreeMap<Dimension, u64>,
    key: &'a Label,
    /// Who asked.
    pub consumer: &'a Label,
    subject: &'a Label,
}

impl<'a> Target<'a> {
    /// What the grant is for: the request itself, or the alternative that it names.
    pub fn of(acquire: &'a Acquire, grant: &'a Grant) -> Target<'a> {
        let own = (&acquire.resource, &acquire.operation, acquire.cost, &acquire.amounts);
        let taken = (grant.alternative as usize).checked_sub(1).and_then(|at| acquire.alternatives.get(at));
        let (resource, operation, cost, amounts) = taken.map_or(own, |alternative| {
            (&alternative.resource, &alternative.operation, alternative.cost, &alternative.amounts)
        });
        let (key, consumer, subject) = (&grant.key, &acquire.consumer, &acquire.subject);
        Target { resource, operation, cost, amounts, key, consumer, subject }
    }

    /// Which of the limit's counters it is taken from, if the limit applies.
    pub fn counter(&self, limit: &Limit) -> Option<Label> {
        let value = match limit.scope {
            Scope::Resource => return self.is_matched(limit).then(Label::default),
            Scope::Key => self.key,
            Scope::Consumer => self.consumer,
            Scope::Subject => self.subject,
        };
        (!value.is_empty() && self.is_matched(limit)).then(|| value.clone())
    }

    /// What it weighs there: a slot, its cost, or its amount of the limit's dimension.
    pub fn weight(&self, limit: &Limit) -> u64 {
        match (&limit.kind, &limit.dimension) {
            (LimitKind::Concurrency(_), _) => 1,
            (_, None) => self.cost,
            (_, Some(dimension)) => self.amounts.get(dimension).copied().unwrap_or(0),
        }
    }

    fn is_matched(&self, limit: &Limit) -> bool {
        let matches = |pattern: &Label| glob(pattern.as_str().as_bytes(), self.operation.as_str().as_bytes());
        self.weight(limit) > 0 && (limit.operations.is_empty() || limit.operations.iter().any(matches))
    }
}

/// `*` stands for any characters but `/`, `**` for any, `?` for one but `/`. Slow and plain; of ASCII only.
pub(super) fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], text) => text.is_empty(),
        ([b'*', b'*', rest @ ..], _) => (0..=text.len()).any(|taken| glob(rest, &text[taken..])),
        ([b'*', rest @ ..], _) => {
            let most = text.iter().position(|c| *c == b'/').unwrap_or(text.len());
            (0..=most).any(|taken| glob(rest, &text[taken..]))
        }
        ([b'?', pattern @ ..], [c, text @ ..]) => *c != b'/' && glob(pattern, text),
        ([p, pattern @ ..], [c, text @ ..]) => p == c && glob(pattern, text),
        (_, []) => false,
    }
}

/// What was said of permits when they ended, as far as it makes them weigh less than was acquired. Where several things
/// were said of one, and nobody knows which of them counted, it is what makes it weigh least.
#[derive(Debug, Default)]
pub struct Settlements<'a> {
    by_permit: BTreeMap<PermitId, Told<'a>>,
}

#[derive(Debug, Default)]
struct Told<'a> {
    was_not_sent: bool,
    releases: Vec<&'a Release>,
}

impl<'a> Settlements<'a> {
    /// The permit was released so.
    pub fn release(&mut self, release: &'a Release) {
        let told = self.by_permit.entry(release.permit).or_default();
        match release.outcome {
            CallOutcome::NotSent => told.was_not_sent = true,
            _ => told.releases.push(release),
        }
    }

    /// The permit was given back unused.
    pub fn give_back(&mut self, permit: PermitId) {
        self.by_permit.entry(permit).or_default().was_not_sent = true;
    }

    /// Whether nothing was ever said of the permit that changes what it weighs.
    pub fn is_as_acquired(&self, permit: PermitId) -> bool {
        let is_plain = |release: &&Release| release.cost.is_none() && release.amounts.is_empty();
        self.by_permit
            .get(&permit)
            .is_none_or(|told| !told.was_not_sent && told.releases.iter().all(is_plain))
    }

    /// What the permit weighs in the end where it was acquired with `weight`, at most; none if its call was never sent.
    ///
    /// A guarantee that holds of what was acquired holds of this, too: whatever is given back makes room from that moment
    /// on only, so the room is never more than it would be had this weight been acquired from the beginning.
    pub fn final_weight(&self, permit: PermitId, limit: &Limit, weight: u64) -> Option<u64> {
        let Some(told) = self.by_permit.get(&permit) else { return Some(weight) };
        let told_weight = |release: &&Release| match &limit.dimension {
            None => release.cost,
            Some(dimension) => release.amounts.get(dimension).copied(),
        };
        let least = told.releases.iter().filter_map(told_weight).min();
        (!told.was_not_sent).then(|| least.map_or(weight, |least| least.min(weight)))
    }
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn patterns_match_as_the_api_says() {
        for (pattern, text, expected) in [
            ("search", "search", true),
            ("search", "searches", false),
            ("*", "batch/contacts", false),
            ("**", "batch/contacts", true),
            ("batch/*", "batch/contacts", true),
            ("b?tch/**", "batch/contacts/read", true),
            ("?", "/", false),
            ("?", "", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} on {text}");
        }
    }
}
