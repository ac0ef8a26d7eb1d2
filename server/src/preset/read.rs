//! TOML to presets.

use jiff::civil::Date;
use prost_types::Duration;

use super::{
    Allowance, CONFIDENCES, Confidence, FaultyPreset, Operation, Parameter, Plan, Preset, Provenance,
    check::check, profile::profile,
};
use crate::{
    resource_file::limit::{limits, required, required_integer, span},
    toml_reader::{Reader, Section, parse},
};
use tollgate_proto::v1;

/// Reads a preset, and checks that each of its plans stands for a valid resource.
///
/// # Errors
///
/// All that is wrong, each with its line and key.
pub fn read(text: &str) -> Result<Preset, FaultyPreset> {
    let table = parse(text).map_err(|fault| FaultyPreset(vec![fault]))?;
    let mut reader = Reader::new(text);
    let mut root = Section::root(&table);
    let (preset, lines) = preset(&mut reader, &mut root, text);
    reader.finish(root);

    let mut faults = reader.into_faults();
    if faults.is_empty() {
        faults = check(&preset, &lines);
    }
    if faults.is_empty() { Ok(preset) } else { Err(FaultyPreset(faults)) }
}

/// The preset, and the lines of its plans.
fn preset<'i>(reader: &mut Reader<'i>, root: &mut Section<'_, 'i>, text: &str) -> (Preset, Vec<usize>) {
    let shared = Shared {
        provenance: origin(reader, root),
        limits: {
            let sections = reader.sections(root, "limit");
            limits(reader, sections, Vec::new())
        },
        dispatch_tolerance: span(reader, root, "dispatch_tolerance"),
    };
    let plans = reader.sections(root, "plan");
    let lines = plans.iter().map(|plan| plan.line(reader)).collect();
    let parameters = reader.sections(root, "parameter");
    let operations = reader.sections(root, "operation");
    let preset = Preset {
        vendor: required(reader, root, "vendor"),
        title: required(reader, root, "title"),
        default_plan: required(reader, root, "default_plan"),
        notes: reader.texts(root, "notes").unwrap_or_default(),
        parameters: parameters.into_iter().map(|section| parameter(reader, section)).collect(),
        operations: operations.into_iter().map(|section| operation(reader, section)).collect(),
        plans: plans.into_iter().map(|section| plan(reader, section, &shared)).collect(),
        code_at: code_at(reader, root),
        profile: profile(reader, root),
        text: text.to_owned(),
    };
    (preset, lines)
}

/// A JSON pointer.
fn code_at<'i>(reader: &mut Reader<'i>, root: &mut Section<'_, 'i>) -> Option<String> {
    let at: String = reader.text(root, "code_at")?;
    if !at.starts_with('/') {
        // It would point nowhere, and no code would ever be found.
        reader.reject(root, "code_at", "must be a JSON pointer such as /error/code");
    }
    Some(at)
}

/// What plans have if they do not say otherwise.
struct Shared {
    provenance: Origin,
    limits: Vec<v1::Limit>,
    dispatch_tolerance: Option<Duration>,
}

/// The parts of a [`Provenance`], each of which may be stated for all plans or for one.
struct Origin {
    source: Option<String>,
    verified_on: Option<Date>,
    confidence: Option<Confidence>,
}

fn origin<'i>(reader: &mut Reader<'i>, section: &mut Section<'_, 'i>) -> Origin {
    Origin {
        source: reader.text(section, "source"),
        verified_on: reader.text(section, "verified_on"),
        confidence: reader.word(section, "confidence", &CONFIDENCES),
    }
}

fn provenance<'i>(reader: &mut Reader<'i>, section: &mut Section<'_, 'i>, shared: &Origin) -> Provenance {
    let own = origin(reader, section);
    // Whoever read the source of all plans has not read that of this one.
    let shared_date = shared.verified_on.filter(|_| own.source.is_none());
    let verified_on = own.verified_on.or(shared_date);
    let (source, confidence) =
        (own.source.or_else(|| shared.source.clone()), own.confidence.or(shared.confidence));
    let there = [("source", source.is_some()), ("confidence", confidence.is_some())];
    for (key, _) in there.iter().filter(|(key, there)| !there && !section.has(key)) {
        reader.reject(section, key, "is required, here or for all plans");
    }
    Provenance {
        source: source.unwrap_or_default(),
        verified_on,
        confidence: confidence.unwrap_or(Confidence::Claim),
    }
}

fn plan<'i>(reader: &mut Reader<'i>, mut section: Section<'_, 'i>, shared: &Shared) -> Plan {
    let allowances = reader.sections(&mut section, "allowance");
    let plan = Plan {
        name: required(reader, &mut section, "name"),
        description: reader.text(&mut section, "description").unwrap_or_default(),
        provenance: provenance(reader, &mut section, &shared.provenance),
        dispatch_tolerance: span(reader, &mut section, "dispatch_tolerance").or(shared.dispatch_tolerance),
        limits: {
            let sections = reader.sections(&mut section, "limit");
            limits(reader, sections, shared.limits.clone())
        },
        allowances: allowances.into_iter().map(|section| allowance(reader, section)).collect(),
    };
    reader.finish(section);
    plan
}

fn allowance<'i>(reader: &mut Reader<'i>, mut section: Section<'_, 'i>) -> Allowance {
    let allowance = Allowance {
        limit: required(reader, &mut section, "limit"),
        parameter: required(reader, &mut section, "parameter"),
        amount: required_integer(reader, &mut section, "amount"),
    };
    reader.finish(section);
    allowance
}

/// The most of anything, where a preset does not say.
const MOST: u64 = 1_000_000;

fn parameter<'i>(reader: &mut Reader<'i>, mut section: Section<'_, 'i>) -> Parameter {
    let parameter = Parameter {
        name: required(reader, &mut section, "name"),
        description: required(reader, &mut section, "description"),
        default: required_integer(reader, &mut section, "default"),
        most: reader.integer(&mut section, "most").unwrap_or(MOST),
    };
    if let Err(problem) = parameter.check(parameter.default) {
        reader.reject(&section, "default", problem);
    }
    reader.finish(section);
    parameter
}

fn operation<'i>(reader: &mut Reader<'i>, mut section: Section<'_, 'i>) -> Operation {
    let operation = Operation {
        name: required(reader, &mut section, "name"),
        description: required(reader, &mut section, "description"),
        cost: reader.integer(&mut section, "cost").unwrap_or(1),
        records: reader.integer(&mut section, "records"),
    };
    reader.finish(section);
    operation
}
