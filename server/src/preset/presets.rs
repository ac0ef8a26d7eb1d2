//! All presets by vendor: those of the binary, and those that a user adds.

use std::{collections::BTreeMap, sync::LazyLock};

use super::{Plan, Preset, read};
use crate::toml_reader::unknown;

/// The files of `server/presets`.
const FILES: [&str; 19] = [
    include_str!("../../presets/airtable.toml"),
    include_str!("../../presets/anthropic.toml"),
    include_str!("../../presets/apollo.toml"),
    include_str!("../../presets/clay.toml"),
    include_str!("../../presets/github.toml"),
    include_str!("../../presets/google.toml"),
    include_str!("../../presets/hubspot.toml"),
    include_str!("../../presets/intercom.toml"),
    include_str!("../../presets/linkedin.toml"),
    include_str!("../../presets/microsoft-graph.toml"),
    include_str!("../../presets/notion.toml"),
    include_str!("../../presets/openai.toml"),
    include_str!("../../presets/outreach.toml"),
    include_str!("../../presets/salesforce.toml"),
    include_str!("../../presets/salesloft.toml"),
    include_str!("../../presets/shopify.toml"),
    include_str!("../../presets/slack.toml"),
    include_str!("../../presets/stripe.toml"),
    include_str!("../../presets/zendesk.toml"),
];

/// Presets by vendor.
#[derive(Clone, Debug)]
pub struct Presets {
    by_vendor: BTreeMap<String, Preset>,
}

impl Presets {
    /// Those of this program.
    pub fn embedded() -> &'static Presets {
        static EMBEDDED: LazyLock<Presets> = LazyLock::new(|| {
            let preset = |text| read(text).expect("a part of the program: a test reads every file");
            let presets = FILES.into_iter().map(preset);
            Presets { by_vendor: presets.map(|preset| (preset.vendor.clone(), preset)).collect() }
        });
        &EMBEDDED
    }

    /// Adds one; it takes the place of another of the same vendor.
    pub fn add(&mut self, preset: Preset) {
        self.by_vendor.insert(preset.vendor.clone(), preset);
    }

    /// All, by vendor.
    pub fn iter(&self) -> impl Iterator<Item = &Preset> {
        self.by_vendor.values()
    }

    /// Whether the vendor of a name such as `hubspot:professional` is known, whatever the plan.
    pub fn has_vendor_of(&self, name: &str) -> bool {
        self.by_vendor.contains_key(parts(name).0)
    }

    /// A vendor's plan by its name, such as `hubspot:professional`; of a vendor alone, its default plan.
    ///
    /// # Errors
    ///
    /// What is not known, and what was probably meant.
    pub fn select(&self, name: &str) -> Result<(&Preset, &Plan), String> {
        let (vendor, plan) = parts(name);
        let preset = self.by_vendor.get(vendor);
        let preset = preset.ok_or_else(|| unknown(vendor, self.by_vendor.keys().map(String::as_str)))?;
        let plan = plan.unwrap_or(&preset.default_plan);
        let selected = preset.plans.iter().find(|known| known.name == plan);
        let names = preset.plans.iter().map(|plan| plan.name.as_str());
        Ok((preset, selected.ok_or_else(|| format!("{vendor}: {}", unknown(plan, names)))?))
    }
}

/// Vendor and plan.
fn parts(name: &str) -> (&str, Option<&str>) {
    match name.split_once(':') {
        Some((vendor, plan)) => (vendor, Some(plan)),
        None => (name, None),
    }
}
