//! Patterns on operations: `*` stands for any characters but `/`, `**` for any characters, `?` for one character but
//! `/`; everything else for itself.
//!
//! Patterns and operations come from outside, so matching must not backtrack: it walks the operation once and keeps the
//! set of positions in the pattern that the part walked so far can reach (Thompson, 1968, "Regular expression search
//! algorithm"): time is bounded by the product of the lengths.

use crate::model::{Acquire, Label, Resource};

/// Whether one of the patterns matches; no patterns match everything.
pub(crate) fn applies(patterns: &[Label], operation: &Label) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern.as_str(), operation.as_str()))
}

/// What the request weighs on limits without a dimension: what it states, else what its operation costs there.
pub(crate) fn cost(resource: &Resource, acquire: &Acquire) -> u64 {
    if acquire.cost > 0 {
        return acquire.cost;
    }
    let operation = acquire.operation.as_str();
    let mut known = resource.operation_costs.iter();
    known.find(|known| matches(known.operation.as_str(), operation)).map_or(1, |known| known.cost)
}

/// Up to the first wildcard there is only one way, and most patterns end there, or with it.
fn matches(pattern: &str, text: &str) -> bool {
    let literal = pattern.bytes().position(|b| b == b'*' || b == b'?').unwrap_or(pattern.len());
    let (literal, pattern) = pattern.split_at(literal);
    let Some(text) = text.strip_prefix(literal) else { return false };
    match pattern {
        "" => text.is_empty(),
        "*" => !text.contains('/'),
        "**" => true,
        _ => reaches_its_end(pattern, text),
    }
}

fn reaches_its_end(pattern: &str, text: &str) -> bool {
    let mut reached = Positions::default();
    reached.add(pattern, 0);
    for c in text.chars() {
        let mut next = Positions::default();
        for at in reached.iter() {
            step(pattern, at, c, &mut next);
        }
        if next.is_empty() {
            return false;
        }
        reached = next;
    }
    reached.contains(pattern.len())
}

/// Where one more character leads from one position.
fn step(pattern: &str, at: usize, c: char, next: &mut Positions) {
    let rest = &pattern[at..];
    let Some(token) = rest.chars().next() else { return };
    let (stands_for_c, consumed) = match token {
        '*' => (c != '/' || rest.starts_with("**"), 0),
        '?' => (c != '/', 1),
        literal => (literal == c, literal.len_utf8()),
    };
    if stands_for_c {
        next.add(pattern, at + consumed);
    }
}

/// A set of byte positions in a pattern, its end included.
#[derive(Clone, Copy, Default)]
struct Positions([u64; 4]);

const _: () = assert!(Label::MAX_BYTES < 4 * 64, "a pattern's end must fit in the set");

impl Positions {
    /// Adds the position, and what follows it without a character: a star may stand for nothing.
    fn add(&mut self, pattern: &str, mut at: usize) {
        loop {
            self.0[at / 64] |= 1 << (at % 64);
            let rest = &pattern[at..];
            at += match rest {
                _ if rest.starts_with("**") => 2,
                _ if rest.starts_with('*') => 1,
                _ => return,
            };
        }
    }

    fn contains(&self, at: usize) -> bool {
        self.0[at / 64] & (1 << (at % 64)) != 0
    }

    fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }

    fn iter(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().enumerate().flat_map(|(word, bits)| {
            std::iter::successors(Some(bits), |bits| Some(bits & bits.wrapping_sub(1)))
                .take_while(|bits| *bits != 0)
                .map(move |bits| word * 64 + bits.trailing_zeros() as usize)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_whole_operations() {
        for (pattern, text, expected) in [
            ("search", "search", true),
            ("search", "searches", false),
            ("search", "", false),
            ("*", "", true),
            ("*", "search", true),
            ("*", "batch/contacts", false),
            ("**", "batch/contacts", true),
            ("batch/*", "batch/contacts", true),
            ("batch/*", "batch/contacts/read", false),
            ("batch/**", "batch/contacts/read", true),
            ("batch/**/read", "batch/contacts/read", true),
            ("batch/**/read", "batch/read", false),
            ("*/read", "contacts/read", true),
            ("?et", "get", true),
            ("?et", "/et", false),
            ("?", "é", true),
            ("a*b*c", "axxbyybzzc", true),
            ("**a*b", "x/a/axb", true),
            ("**a*b", "x/a/ax/b", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text:?}");
        }
    }

    /// Obviously right, exponentially slow.
    fn naive(pattern: &str, text: &str) -> bool {
        let Some(p) = pattern.chars().next() else { return text.is_empty() };
        let c = text.chars().next();
        let tail = |s: &str| s.chars().skip(1).collect::<String>();
        if let Some(after) = pattern.strip_prefix("**") {
            return naive(after, text) || c.is_some() && naive(pattern, &tail(text));
        }
        match p {
            '*' => naive(&pattern[1..], text) || c.is_some_and(|c| c != '/') && naive(pattern, &tail(text)),
            '?' => c.is_some_and(|c| c != '/') && naive(&pattern[1..], &tail(text)),
            _ => c == Some(p) && naive(&tail(pattern), &tail(text)),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_matcher(pattern in "[ab/*?é]{0,8}", text in "[ab/é]{0,8}") {
            prop_assert_eq!(matches(&pattern, &text), naive(&pattern, &text));
        }
    }
}
