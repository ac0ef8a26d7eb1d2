//! TOML to resources.

use std::{collections::BTreeMap, str::FromStr};

use prost_types::Duration;
use tollgate_proto::v1::{self, limit::Kind as Parameters};

use super::{
    FaultyFile, budget,
    words::{ANCHORS, KINDS, Kind, SCOPES},
};
use crate::{
    grpc::convert::definition::definition,
    toml_reader::{Fault, Reader, Section, parse},
};

/// Reads resources, and checks them as the server will. What the file leaves out stays absent: the server fills the
/// defaults.
///
/// # Errors
///
/// All that is wrong, each with its line and key: what is not TOML, unknown keys, values of a wrong kind, names given
/// twice, and every rule of `resource.proto`.
pub fn read(text: &str) -> Result<Vec<v1::Resource>, FaultyFile> {
    let table = parse(text).map_err(|fault| FaultyFile(vec![fault]))?;
    let mut reader = Reader::new(text);
    let mut root = Section::root(&table);
    let mut resources = Vec::new();
    for section in reader.sections(&mut root, "resource") {
        let line = section.line(&reader);
        resources.push((line, resource(&mut reader, section)));
    }
    reader.finish(root);

    let mut faults = reader.into_faults();
    if faults.is_empty() {
        faults = check(&resources);
    }
    if !faults.is_empty() {
        return Err(FaultyFile(faults));
    }
    Ok(resources.into_iter().map(|(_, resource)| resource).collect())
}

/// The rules beyond a single value.
fn check(resources: &[(usize, v1::Resource)]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut lines = BTreeMap::new();
    for (line, resource) in resources {
        let mut fault = |key: String, problem: String| faults.push(Fault { line: Some(*line), key, problem });
        if let Some(first) = lines.insert(&resource.name, line) {
            fault(resource.name.clone(), format!("is in this file twice; first in line {first}"));
        }
        if let Err(invalid) = definition(resource.clone()) {
            for wrong in invalid.0 {
                fault(format!("{} {}", resource.name, wrong.field), wrong.problem);
            }
        }
    }
    faults
}

fn resource<'i>(reader: &mut Reader<'i>, mut section: Section<'_, 'i>) -> v1::Resource {
    let resource = v1::Resource {
        name: required(reader, &mut section, "name"),
        description: reader.text(&mut section, "description").unwrap_or_default(),
        keys: reader.texts(&mut section, "keys").unwrap_or_default(),
        dispatch_tolerance: span(reader, &mut section, "dispatch_tolerance"),
        settle_within: span(reader, &mut section, "settle_within"),
        limits: {
            let limits = reader.sections(&mut section, "limit");
            limits.into_iter().map(|section| limit(reader, section)).collect()
        },
        max_waiters: reader.integer(&mut section, "max_waiters").unwrap_or_default(),
        max_waiters_per_consumer: reader
            .integer(&mut section, "max_waiters_per_consumer")
            .unwrap_or_default(),
        ageing: span(reader, &mut section, "ageing"),
        budgets: {
            let budgets = reader.sections(&mut section, "budget");
            budgets.into_iter().map(|section| budget::read(reader, section)).collect()
        },
        // Generation and orders are the server's.
        ..Default::default()
    };
    reader.finish(section);
    resource
}

fn limit<'i>(reader: &mut Reader<'i>, mut section: Section<'_, 'i>) -> v1::Limit {
    let limit = v1::Limit {
        name: required(reader, &mut section, "name"),
        operations: reader.texts(&mut section, "operations").unwrap_or_default(),
        dimension: reader.text(&mut section, "dimension").unwrap_or_default(),
        scope: reader.word(&mut section, "scope", &SCOPES).unwrap_or_default().into(),
        max_scope_values: reader.integer(&mut section, "max_scope_values").unwrap_or_default(),
        shadow: reader.boolean(&mut section, "shadow").unwrap_or_default(),
        kind: kind(reader, &mut section),
    };
    if limit.kind.is_some() {
        // Without its kind it is not known what else it may have.
        reader.finish(section);
    }
    limit
}

fn kind<'i>(reader: &mut Reader<'i>, section: &mut Section<'_, 'i>) -> Option<Parameters> {
    if !section.has("kind") {
        let words = KINDS.map(|(word, _)| word).join(", ");
        reader.reject(section, "kind", format_args!("is required: one of {words}"));
        return None;
    }
    Some(match reader.word(section, "kind", &KINDS)? {
        Kind::TokenBucket => Parameters::TokenBucket(v1::TokenBucket {
            capacity: amount(reader, section, "capacity"),
            refill_amount: amount(reader, section, "refill_amount"),
            refill_period: span(reader, section, "refill_period"),
        }),
        Kind::LeakyBucket => Parameters::LeakyBucket(v1::LeakyBucket {
            amount: amount(reader, section, "amount"),
            period: span(reader, section, "period"),
        }),
        Kind::FixedWindow => Parameters::FixedWindow(v1::FixedWindow {
            amount: amount(reader, section, "amount"),
            period: span(reader, section, "period"),
            anchor: reader.word(section, "anchor", &ANCHORS).unwrap_or_default().into(),
            time_zone: reader.text(section, "time_zone").unwrap_or_default(),
            max_clock_skew: span(reader, section, "max_clock_skew"),
        }),
        Kind::SlidingWindow => Parameters::SlidingWindow(v1::SlidingWindow {
            amount: amount(reader, section, "amount"),
            period: span(reader, section, "period"),
            resolution: reader.integer(section, "resolution").unwrap_or_default(),
        }),
        Kind::Concurrency => Parameters::Concurrency(v1::Concurrency {
            slots: reader.integer(section, "slots").unwrap_or_default(),
            lease_default: span(reader, section, "lease_default"),
            lease_max: span(reader, section, "lease_max"),
            grace: span(reader, section, "grace"),
            counts_after: span(reader, section, "counts_after"),
            quarantine: span(reader, section, "quarantine"),
        }),
    })
}

pub(super) fn required<'i>(
    reader: &mut Reader<'i>,
    section: &mut Section<'_, 'i>,
    key: &'static str,
) -> String {
    if !section.has(key) {
        reader.reject(section, key, "is required");
    }
    reader.text(section, key).unwrap_or_default()
}

/// Absent reads as 0, which no amount may be.
fn amount<'i>(reader: &mut Reader<'i>, section: &mut Section<'_, 'i>, key: &'static str) -> u64 {
    reader.integer(section, key).unwrap_or_default()
}

fn span<'i>(reader: &mut Reader<'i>, section: &mut Section<'_, 'i>, key: &'static str) -> Option<Duration> {
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
