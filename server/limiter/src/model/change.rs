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
            let field = changed(before, limit)?;
            let problem =
                format!("limit `{}` cannot change it and keep its name: give it another name", limit.name);
            Some(Violation::new(format!("limits[{index}].{field}"), problem))
        };
        let violations: Vec<_> = to.limits.iter().enumerate().filter_map(violation).collect();
        if violations.is_empty() { Ok(()) } else { Err(violations) }
    }
}

fn changed(old: &Limit, new: &Limit) -> Option<&'static str> {
    if old.kind.field() != new.kind.field() {
        return Some(new.kind.field());
    }
    if old.scope != new.scope {
        return Some("scope");
    }
    (old.dimension != new.dimension).then_some("dimension")
}
