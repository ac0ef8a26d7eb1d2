//! What a changed definition may not do.

use super::{Limit, Resource, Violation};

impl Resource {
    /// Whether this definition can become that one: state is carried over by the names of limits, and cannot be where a
    /// limit keeps its name and becomes something else.
    ///
    /// # Errors
    ///
    /// Every limit that would; fields are named by their path in `to`.
    pub fn check_change(&self, to: &Resource) -> Result<(), Vec<Violation>> {
        let violation = |(index, limit): (usize, &Limit)| {
            let before = self.limits.iter().find(|other| other.name == limit.name)?;
            let (what, field) = changed(before, limit)?;
            let problem = format!(
                "limit `{}` cannot change its {what} and keep its name: state the {what} that it has now, give it \
                 another name, or delete the resource and create it again",
                limit.name
            );
            Some(Violation::new(format!("limits[{index}].{field}"), problem))
        };
        let violations: Vec<_> = to.limits.iter().enumerate().filter_map(violation).collect();
        if violations.is_empty() { Ok(()) } else { Err(violations) }
    }
}

/// What is another, and the field that says so.
fn changed(old: &Limit, new: &Limit) -> Option<(&'static str, &'static str)> {
    if old.kind.field() != new.kind.field() {
        return Some(("kind", new.kind.field()));
    }
    if old.scope != new.scope {
        return Some(("scope", "scope"));
    }
    (old.dimension != new.dimension).then_some(("dimension", "dimension"))
}
