//! TOML to resources.

use std::collections::BTreeMap;

use tollgate_proto::v1;

use super::{
    FaultyFile, budget,
    limit::{limits, required, required_integer, span},
    spread, vendor,
};
use crate::{
    grpc::convert::definition::definition,
    preset::Presets,
    toml_reader::{Fault, Reader, Section, parse},
};

/// Reads resources, and checks them as the server will. What the file and the presets that it names leave out stays absent:
/// the server fills the defaults.
///
/// # Errors
///
/// All that is wrong, each with its line and key: what is not TOML, unknown keys, values of a wrong kind, names given
/// twice, presets and parameters that there are not, and every rule of `resource.proto`.
pub fn read(text: &str) -> Result<Vec<v1::Resource>, FaultyFile> {
    read_with(text, Presets::embedded())
}

/// Reads resources with other presets than those of this program.
///
/// # Errors
///
/// As [`read`].
pub fn read_with(text: &str, presets: &Presets) -> Result<Vec<v1::Resource>, FaultyFile> {
    let table = parse(text).map_err(|fault| FaultyFile(vec![fault]))?;
    let mut reader = Reader::new(text);
    let mut root = Section::root(&table);
    let mut resources = Vec::new();
    for section in reader.sections(&mut root, "resource") {
        let line = section.line(&reader);
        resources.push((line, resource(&mut reader, section, presets)));
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

fn resource<'i>(reader: &mut Reader<'i>, mut section: Section<'_, 'i>, presets: &Presets) -> v1::Resource {
    let keys = reader.texts(&mut section, "keys").unwrap_or_default();
    let base = expansion(reader, &mut section, presets, &keys).unwrap_or_default();
    let resource = v1::Resource {
        name: required(reader, &mut section, "name"),
        description: reader.text(&mut section, "description").unwrap_or(base.description),
        keys,
        dispatch_tolerance: span(reader, &mut section, "dispatch_tolerance").or(base.dispatch_tolerance),
        settle_within: span(reader, &mut section, "settle_within"),
        limits: {
            let sections = reader.sections(&mut section, "limit");
            spread::follow(limits(reader, sections, base.limits.clone()), &base.limits)
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
        operation_costs: operation_costs(reader, &mut section, base.operation_costs),
        circuit_breaker: vendor::circuit_breaker(reader, &mut section, base.circuit_breaker),
        feedback: match reader.section(&mut section, "feedback") {
            Some(section) => Some(vendor::feedback(reader, section, base.feedback)),
            None => base.feedback,
        },
        // Generation and orders are the server's.
        ..Default::default()
    };
    reader.finish(section);
    resource
}

/// Those that the file states go first, since the first that matches counts; then the others of the base.
fn operation_costs<'i>(
    reader: &mut Reader<'i>,
    of: &mut Section<'_, 'i>,
    base: Vec<v1::OperationCost>,
) -> Vec<v1::OperationCost> {
    let mut costs = Vec::new();
    for mut section in reader.sections(of, "operation_cost") {
        costs.push(v1::OperationCost {
            operation: required(reader, &mut section, "operation"),
            cost: required_integer(reader, &mut section, "cost"),
        });
        reader.finish(section);
    }
    let is_stated = |known: &v1::OperationCost| costs.iter().any(|cost| cost.operation == known.operation);
    let others: Vec<_> = base.into_iter().filter(|known| !is_stated(known)).collect();
    costs.extend(others);
    costs
}

/// What the preset that the resource names stands for.
fn expansion<'i>(
    reader: &mut Reader<'i>,
    section: &mut Section<'_, 'i>,
    presets: &Presets,
    keys: &[String],
) -> Option<v1::Resource> {
    let name: String = reader.text(section, "preset")?;
    let (preset, plan) = match presets.select(&name) {
        Ok(selected) => selected,
        Err(problem) => {
            let hint = match presets.has_vendor_of(&name) {
                true => "",
                false => " (for one of your own add --preset-file FILE)",
            };
            reader.reject(section, "preset", format_args!("{problem}{hint}"));
            // Whether it has parameters of these names cannot be told.
            let _ = reader.section(section, "parameters");
            return None;
        }
    };
    let mut given = BTreeMap::new();
    if let Some(mut values) = reader.section(section, "parameters") {
        for parameter in &preset.parameters {
            if let Some(value) = reader.integer(&mut values, &parameter.name) {
                match parameter.check(value) {
                    Ok(()) => drop(given.insert(parameter.name.clone(), value)),
                    Err(problem) => reader.reject(&values, &parameter.name, problem),
                }
            }
        }
        reader.finish(values);
    }
    Some(preset.expand(plan, &given, keys))
}
