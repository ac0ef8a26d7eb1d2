//! Presets for people.

use std::slice;

use tollgate_vendors::{Condition, HeaderRule, Reading, Sign, TimeFormat};

use super::super::table::{table, thousands};
use crate::{
    preset::{Plan, Preset, Presets},
    resource_file,
};

pub fn list(presets: &Presets) -> String {
    let mut rows = Vec::new();
    for preset in presets.iter() {
        for plan in &preset.plans {
            let default = if plan.name == preset.default_plan { "default" } else { "" };
            rows.push([
                format!("{}:{}", preset.vendor, plan.name),
                default.to_owned(),
                plan.provenance.confidence.to_string(),
                plan.provenance.verified_on.map_or("never".to_owned(), |date| date.to_string()),
                plan.description.clone(),
            ]);
        }
    }
    table(["PRESET", "", "CONFIDENCE", "VERIFIED ON", "DESCRIPTION"], &rows)
}

/// Comments, and then a resource that can be pasted into a file: it is what the preset stands for.
pub fn show(preset: &Preset, plan: &Plan) -> String {
    let provenance = &plan.provenance;
    let mut lines = vec![
        format!("{}:{}, {} {}", preset.vendor, plan.name, preset.title, plan.description),
        format!("source      {}", provenance.source),
        match provenance.verified_on {
            Some(date) => format!("verified on {date}"),
            None => "verified    never: nobody has compared the figures with the source".to_owned(),
        },
        format!("confidence  {}", provenance.confidence),
    ];
    lines.extend(preset.notes.iter().map(|note| format!("note        {note}")));
    lines.extend(preset.parameters.iter().map(|parameter| {
        let default = parameter.default;
        format!("parameter   {}: {}; {default} if not given", parameter.name, parameter.description)
    }));
    lines.extend(plan.allowances.iter().map(|allowance| {
        let (more, limit, of) = (thousands(allowance.amount), &allowance.limit, &allowance.parameter);
        format!("            {more} more of {limit} for each of {of}")
    }));
    let mut text: String = lines.iter().map(|line| format!("# {line}\n")).collect();

    let mut resource = preset.expand(plan, &Default::default(), &[]);
    resource.name = format!("{}/account", preset.vendor);
    text += &format!("\n{}", resource_file::write(slice::from_ref(&resource)));
    text += &commented("Operations; a call that states no cost is counted with this one", operations(preset));
    text += &commented("Limited", signs(preset));
    text += &commented("Headers", headers(preset));
    text
}

fn commented(title: &str, lines: Option<String>) -> String {
    let lines = lines.map(|text| text.lines().map(|line| format!("#   {line}\n")).collect::<String>());
    lines.map(|lines| format!("\n# {title}:\n{lines}")).unwrap_or_default()
}

fn operations(preset: &Preset) -> Option<String> {
    let row = |operation: &crate::preset::Operation| {
        let records = operation.records.map_or("-".to_owned(), thousands);
        [operation.name.clone(), thousands(operation.cost), records, operation.description.clone()]
    };
    let rows: Vec<_> = preset.operations.iter().map(row).collect();
    (!rows.is_empty()).then(|| table(["OPERATION", "COST", "RECORDS", "DESCRIPTION"], &rows))
}

fn signs(preset: &Preset) -> Option<String> {
    let row = |sign: &Sign| {
        let header = sign.header.as_ref().map(condition).unwrap_or_default();
        let limit = sign.limit.as_ref().map(ToString::to_string).unwrap_or_default();
        let wait = sign.wait.map(super::super::duration::human).unwrap_or_default();
        [sign.status.to_string(), sign.code.clone().unwrap_or_default(), header, limit, wait]
    };
    let rows: Vec<_> = preset.profile.signs.iter().map(row).collect();
    let code_at = preset.code_at.as_ref().map(|at| format!("\nthe code is at {at} of the body"));
    (!rows.is_empty()).then(|| {
        table(["STATUS", "CODE", "HEADER", "LIMIT", "WAIT"], &rows) + code_at.as_deref().unwrap_or_default()
    })
}

fn headers(preset: &Preset) -> Option<String> {
    let row = |rule: &HeaderRule| {
        let (gives, format) = gives(&rule.reading);
        let item = rule.item.clone().unwrap_or_default();
        let only_if = rule.only_if.as_ref().map(condition).unwrap_or_default();
        let limit = rule.reading.limit().map(ToString::to_string).unwrap_or_default();
        [rule.name.to_string(), item, gives.to_owned(), limit, format.to_owned(), only_if]
    };
    let rows: Vec<_> = preset.profile.headers.iter().map(row).collect();
    (!rows.is_empty()).then(|| table(["HEADER", "ITEM", "GIVES", "LIMIT", "FORMAT", "ONLY IF"], &rows))
}

fn condition(condition: &Condition) -> String {
    match &condition.value {
        Some(value) => format!("{}: {value}", condition.header),
        None => format!("{} is there", condition.header),
    }
}

/// What a header gives, and in which format if it is a time.
pub fn gives(reading: &Reading) -> (&'static str, &'static str) {
    match reading {
        Reading::RetryAfter(format) => ("retry_after", format_name(*format)),
        Reading::Limit(_) => ("limit", ""),
        Reading::Remaining(_) => ("remaining", ""),
        Reading::UsedOfLimit(_) => ("used_of_limit", ""),
        Reading::Reset(_, format) => ("reset", format_name(*format)),
        Reading::Cost => ("cost", ""),
    }
}

fn format_name(format: TimeFormat) -> &'static str {
    let name = crate::preset::FORMATS.iter().find(|(_, known)| *known == format);
    name.map_or("", |(name, _)| name)
}
