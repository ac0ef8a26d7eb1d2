//! Limits in TOML. Each field that is absent is that of the base: of the same limit in a preset, or of nothing.

use std::{collections::BTreeMap, mem, str::FromStr};

use prost_types::Duration;
use tollgate_proto::v1::{self, limit::Kind as Parameters};

use super::words::{ANCHORS, KINDS, Kind, SCOPES};
use crate::toml_reader::{Reader, Section};

/// The limits of the base, with what the sections state of those with the same names, then the others.
pub(crate) fn limits<'i>(
    reader: &mut Reader<'i>,
    sections: Vec<Section<'_, 'i>>,
    base: Vec<v1::Limit>,
) -> Vec<v1::Limit> {
    let mut limits = base;
    let mut of_base: BTreeMap<_, _> =
        limits.iter().enumerate().map(|(index, limit)| (limit.name.clone(), index)).collect();
    for mut section in sections {
        let name = required(reader, &mut section, "name");
        // A name that comes twice is another limit, which the rules of a resource refuse.
        match of_base.remove(&name) {
            Some(index) => limits[index] = limit(reader, section, mem::take(&mut limits[index])),
            None => limits.push(limit(reader, section, v1::Limit { name, ..Default::default() })),
        }
    }
    limits
}

fn limit<'i>(reader: &mut Reader<'i>, mut section: Section<'_, 'i>, base: v1::Limit) -> v1::Limit {
    let limit = v1::Limit {
        name: base.name,
        operations: reader.texts(&mut section, "operations").unwrap_or(base.operations),
        dimension: reader.text(&mut section, "dimension").unwrap_or(base.dimension),
        scope: reader.word(&mut section, "scope", &SCOPES).map_or(base.scope, i32::from),
        max_scope_values: reader.integer(&mut section, "max_scope_values").unwrap_or(base.max_scope_values),
        shadow: reader.boolean(&mut section, "shadow").unwrap_or(base.shadow),
        kind: kind(reader, &mut section, base.kind),
    };
    if limit.kind.is_some() {
        // Without its kind it is not known what else it may have.
        reader.finish(section);
    }
    limit
}

/// Another kind than the base's begins with nothing.
fn kind<'i>(
    reader: &mut Reader<'i>,
    section: &mut Section<'_, 'i>,
    base: Option<Parameters>,
) -> Option<Parameters> {
    if !section.has("kind") && base.is_none() {
        let words = KINDS.map(|(word, _)| word).join(", ");
        reader.reject(section, "kind", format_args!("is required: one of {words}"));
        return None;
    }
    let base = match reader.word(section, "kind", &KINDS) {
        Some(kind) => base.filter(|base| is_of(base, kind)).unwrap_or_else(|| fresh(kind)),
        // Not one of the words: that is told already.
        None if section.has("kind") => return None,
        None => base?,
    };
    Some(parameters(reader, section, base))
}

fn is_of(parameters: &Parameters, kind: Kind) -> bool {
    mem::discriminant(parameters) == mem::discriminant(&fresh(kind))
}

/// Nothing stated. Amounts read as 0, which none may be.
fn fresh(kind: Kind) -> Parameters {
    match kind {
        Kind::TokenBucket => Parameters::TokenBucket(v1::TokenBucket::default()),
        Kind::LeakyBucket => Parameters::LeakyBucket(v1::LeakyBucket::default()),
        Kind::FixedWindow => Parameters::FixedWindow(v1::FixedWindow::default()),
        Kind::SlidingWindow => Parameters::SlidingWindow(v1::SlidingWindow::default()),
        Kind::Concurrency => Parameters::Concurrency(v1::Concurrency::default()),
    }
}

fn parameters<'i>(reader: &mut Reader<'i>, section: &mut Section<'_, 'i>, base: Parameters) -> Parameters {
    match base {
        Parameters::TokenBucket(base) => Parameters::TokenBucket(v1::TokenBucket {
            capacity: reader.integer(section, "capacity").unwrap_or(base.capacity),
            refill_amount: reader.integer(section, "refill_amount").unwrap_or(base.refill_amount),
            refill_period: span(reader, section, "refill_period").or(base.refill_period),
        }),
        Parameters::LeakyBucket(base) => Parameters::LeakyBucket(v1::LeakyBucket {
            amount: reader.integer(section, "amount").unwrap_or(base.amount),
            period: span(reader, section, "period").or(base.period),
        }),
        Parameters::FixedWindow(base) => Parameters::FixedWindow(v1::FixedWindow {
            amount: reader.integer(section, "amount").unwrap_or(base.amount),
            period: span(reader, section, "period").or(base.period),
            anchor: reader.word(section, "anchor", &ANCHORS).map_or(base.anchor, i32::from),
            time_zone: reader.text(section, "time_zone").unwrap_or(base.time_zone),
            max_clock_skew: span(reader, section, "max_clock_skew").or(base.max_clock_skew),
        }),
        Parameters::SlidingWindow(base) => Parameters::SlidingWindow(v1::SlidingWindow {
            amount: reader.integer(section, "amount").unwrap_or(base.amount),
            period: span(reader, section, "period").or(base.period),
            resolution: reader.integer(section, "resolution").unwrap_or(base.resolution),
        }),
        Parameters::Concurrency(base) => Parameters::Concurrency(v1::Concurrency {
            slots: reader.integer(section, "slots").unwrap_or(base.slots),
            lease_default: span(reader, section, "lease_default").or(base.lease_default),
            lease_max: span(reader, section, "lease_max").or(base.lease_max),
            grace: span(reader, section, "grace").or(base.grace),
            counts_after: span(reader, section, "counts_after").or(base.counts_after),
            quarantine: span(reader, section, "quarantine").or(base.quarantine),
        }),
    }
}

/// A text that must be there.
pub(crate) fn required<'i>(reader: &mut Reader<'i>, section: &mut Section<'_, 'i>, key: &str) -> String {
    if !section.has(key) {
        reader.reject(section, key, "is required");
    }
    reader.text(section, key).unwrap_or_default()
}

/// A number that must be there.
pub(crate) fn required_integer<'i>(reader: &mut Reader<'i>, section: &mut Section<'_, 'i>, key: &str) -> u64 {
    if !section.has(key) {
        reader.reject(section, key, "is required");
    }
    reader.integer(section, key).unwrap_or_default()
}

/// A length of time, such as `10s`.
pub(crate) fn span<'i>(
    reader: &mut Reader<'i>,
    section: &mut Section<'_, 'i>,
    key: &str,
) -> Option<Duration> {
    reader.text(section, key).map(|Written(duration)| duration)
}

/// A duration as people write it.
struct Written(Duration);

impl FromStr for Written {
    type Err = String;

    fn from_str(text: &str) -> Result<Written, String> {
        let parsed = text.parse::<humantime::Duration>().ok();
        let duration = parsed.and_then(|duration| Duration::try_from(*duration).ok());
        duration.map(Written).ok_or(format!("must be a duration such as 500ms, 10s or 24h, not `{text}`"))
    }
}
