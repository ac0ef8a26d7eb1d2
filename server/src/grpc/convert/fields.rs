//! Gathers what is wrong with a message, so that the answer names every wrong field at once.

use std::{fmt, ops::RangeInclusive, time};

use prost_types::Duration;
use tollgate_limiter::{BadName, Span, Violation};

/// Wrong fields told at once. An error travels in headers, which are small; more would not be read anyway.
pub const VIOLATIONS_MAX: usize = 16;

/// A message with at least one wrong field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub Vec<Violation>);

impl Invalid {
    /// One wrong field.
    pub fn field(field: impl Into<String>, problem: impl fmt::Display) -> Invalid {
        Invalid(vec![Violation { field: field.into(), problem: problem.to_string() }])
    }
}

/// The wrong fields of a message found so far.
///
/// Readers of a field record what is wrong and go on with a placeholder; [`Fields::finish`] then withholds the result.
#[derive(Default)]
pub struct Fields(Vec<Violation>);

impl Fields {
    /// The result, if nothing was wrong. A reader that gives `None` has recorded why.
    pub fn finish<T>(self, result: Option<T>) -> Result<T, Invalid> {
        match result {
            Some(result) if self.0.is_empty() => Ok(result),
            _ => Err(Invalid(self.0)),
        }
    }

    /// Records a wrong field.
    pub fn reject(&mut self, field: impl Into<String>, problem: impl fmt::Display) {
        if self.0.len() < VIOLATIONS_MAX {
            self.0.push(Violation { field: field.into(), problem: problem.to_string() });
        }
    }

    /// Reads a message within the message: what is wrong there is recorded under its path.
    pub fn nested<T>(&mut self, path: &str, read: impl FnOnce(&mut Fields) -> T) -> T {
        let mut inner = Fields::default();
        let result = read(&mut inner);
        for Violation { field, problem } in inner.0 {
            self.reject(format!("{path}.{field}"), problem);
        }
        result
    }

    /// Something with a rule of its own.
    pub fn name<T>(&mut self, field: &str, parsed: Result<T, BadName>) -> Option<T> {
        parsed.map_err(|problem| self.reject(field, problem)).ok()
    }

    /// A number within bounds.
    pub fn within(&mut self, field: &str, number: u64, allowed: RangeInclusive<u64>) -> u64 {
        if !allowed.contains(&number) {
            let problem = format_args!("must be {} to {}, not {number}", allowed.start(), allowed.end());
            self.reject(field, problem);
        }
        number
    }

    /// One of an enum's values, by the generated conversion.
    pub fn variant<T: TryFrom<i32>>(&mut self, field: &str, number: i32, names: &str) -> Option<T> {
        let variant = T::try_from(number).ok();
        if variant.is_none() {
            self.reject(field, format_args!("must be {names}; {number} is not known"));
        }
        variant
    }

    /// A duration that must be there.
    pub fn span(&mut self, field: &str, duration: Option<Duration>) -> Span {
        if duration.is_none() {
            self.reject(field, "is required");
        }
        self.span_or(field, duration, Span::ZERO)
    }

    /// A duration, or the default. Bounds beyond what a [`Span`] can hold are up to the caller.
    pub fn span_or(&mut self, field: &str, duration: Option<Duration>, default: Span) -> Span {
        let Some(duration) = duration else { return default };
        span_of(duration).unwrap_or_else(|problem| {
            self.reject(field, problem);
            default
        })
    }

    /// A duration within bounds, if it is there.
    pub fn span_within(
        &mut self,
        field: &str,
        duration: Option<Duration>,
        allowed: RangeInclusive<Span>,
    ) -> Option<Span> {
        let span = self.span_or(field, Some(duration?), *allowed.start());
        if !allowed.contains(&span) {
            let problem = format_args!("must be {} to {}, not {span}", allowed.start(), allowed.end());
            self.reject(field, problem);
        }
        Some(span)
    }
}

fn span_of(duration: Duration) -> Result<Span, &'static str> {
    let signs_differ =
        (duration.seconds < 0 && duration.nanos > 0) || (duration.seconds > 0 && duration.nanos < 0);
    if duration.nanos.unsigned_abs() >= 1_000_000_000 || signs_differ {
        return Err("is not a valid duration: nanos must be below one second, and of the sign of seconds");
    }
    let duration = time::Duration::try_from(duration).map_err(|_| "must not be negative")?;
    u64::try_from(duration.as_nanos()).map(Span).map_err(|_| "is longer than 584 years")
}
