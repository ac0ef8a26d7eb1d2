//! Other resources that would do as well, from the wire.

use tollgate_limiter::{Alternative, Label, MAX_ALTERNATIVES, ResourceName};
use tollgate_proto::v1;

use super::{
    Fields,
    acquire::{amounts, cost},
};

/// Reads all of them, so that all faults are found.
pub(super) fn alternatives(
    fields: &mut Fields,
    own: &str,
    wire: Vec<v1::Alternative>,
) -> Option<Vec<Alternative>> {
    if wire.len() > MAX_ALTERNATIVES {
        let problem = format_args!("has {} entries, at most {MAX_ALTERNATIVES} are allowed", wire.len());
        fields.reject("alternatives", problem);
        return None;
    }
    let mut named = vec![own.to_owned()];
    let mut read = Vec::with_capacity(wire.len());
    for (position, wire) in wire.into_iter().enumerate() {
        let name = wire.resource.clone();
        read.push(fields.nested(&format!("alternatives[{position}]"), |fields| {
            if named.contains(&name) {
                fields.reject(
                    "resource",
                    format_args!("{name} is named before; each must differ from the others"),
                );
            }
            alternative(fields, wire)
        }));
        named.push(name);
    }
    read.into_iter().collect()
}

fn alternative(fields: &mut Fields, wire: v1::Alternative) -> Option<Alternative> {
    let resource = fields.name("resource", ResourceName::new(&wire.resource));
    let operation = fields.name("operation", Label::new(&wire.operation));
    let cost = cost(fields, wire.cost);
    let amounts = amounts(fields, wire.amounts);
    let key = fields.name("key", Label::new(&wire.key));
    Some(Alternative { resource: resource?, operation: operation?, cost, amounts, key: key? })
}
