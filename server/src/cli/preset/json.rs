//! Presets as JSON. Field names are those of the files; durations are in seconds.

use serde_json::{Value, json};
use tollgate_vendors::{Condition, HeaderRule, Sign};

use super::{
    super::{output::seconds, resource::json::resource},
    text::gives,
};
use crate::preset::{Plan, Preset, Presets};

pub fn list(presets: &Presets) -> Value {
    let each = |preset: &Preset| {
        let plans: Vec<_> = preset.plans.iter().map(plan).collect();
        json!({
            "vendor": preset.vendor,
            "title": preset.title,
            "default_plan": preset.default_plan,
            "plans": plans,
        })
    };
    json!({ "presets": presets.iter().map(each).collect::<Vec<_>>() })
}

fn plan(plan: &Plan) -> Value {
    json!({
        "name": plan.name,
        "description": plan.description,
        "source": plan.provenance.source,
        "verified_on": plan.provenance.verified_on.map(|date| date.to_string()),
        "confidence": plan.provenance.confidence.to_string(),
    })
}

pub fn show(preset: &Preset, of: &Plan) -> Value {
    let profile = &preset.profile;
    let mut definition = preset.expand(of, &Default::default(), &[]);
    definition.name = format!("{}/account", preset.vendor);
    json!({
        "vendor": preset.vendor,
        "title": preset.title,
        "plan": plan(of),
        "notes": preset.notes,
        "resource": resource(&definition),
        "parameters": preset.parameters.iter().map(|parameter| json!({
            "name": parameter.name,
            "description": parameter.description,
            "default": parameter.default,
            "most": parameter.most,
        })).collect::<Vec<_>>(),
        "allowances": of.allowances.iter().map(|allowance| json!({
            "limit": allowance.limit,
            "parameter": allowance.parameter,
            "amount": allowance.amount,
        })).collect::<Vec<_>>(),
        "operations": preset.operations.iter().map(|operation| json!({
            "name": operation.name,
            "description": operation.description,
            "cost": operation.cost,
            "records": operation.records,
        })).collect::<Vec<_>>(),
        "code_at": preset.code_at,
        "limited": profile.signs.iter().map(sign).collect::<Vec<_>>(),
        "headers": profile.headers.iter().map(header).collect::<Vec<_>>(),
    })
}

fn sign(sign: &Sign) -> Value {
    json!({
        "status": sign.status,
        "code": sign.code,
        "header": sign.header.as_ref().map(condition),
        "limit": sign.limit.as_ref().map(ToString::to_string),
        "wait_seconds": sign.wait.map(seconds),
    })
}

fn header(rule: &HeaderRule) -> Value {
    let (gives, format) = gives(&rule.reading);
    json!({
        "name": rule.name.as_str(),
        "item": rule.item,
        "gives": gives,
        "limit": rule.reading.limit().map(ToString::to_string),
        "format": Some(format).filter(|format| !format.is_empty()),
        "only_if": rule.only_if.as_ref().map(condition),
    })
}

fn condition(condition: &Condition) -> Value {
    json!({ "header": condition.header.as_str(), "is": condition.value })
}
