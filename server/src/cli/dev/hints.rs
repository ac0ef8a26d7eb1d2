//! What `tollgate dev` prints: who runs where, and lines to paste next.

use std::collections::BTreeMap;

use tollgate_client::NODES_VARIABLE;

use super::{super::table::table, Layout, node::program};
use crate::raft::members::NodeId;

/// The port at which the client finds the nodes without being told.
const DEFAULT_PORT: u16 = 7600;

pub fn welcome(layout: &Layout, pids: &BTreeMap<NodeId, u32>, leader: NodeId, samples: &[String]) -> String {
    let rows: Vec<_> = pids
        .iter()
        .map(|(&id, pid)| {
            [
                id.to_string(),
                pid.to_string(),
                layout.client_address(id),
                format!("http://{}/metrics", layout.http_address(id)),
                layout.log(id).display().to_string(),
                if id == leader { "leader" } else { "" }.to_owned(),
            ]
        })
        .collect();
    let nodes = table(["NODE", "PROCESS", "CLIENTS", "METRICS", "LOG", ""], &rows);
    let pid = pids.get(&leader).map_or_else(|| "PID".to_owned(), u32::to_string);
    format!(
        "{nodes}\n\nSample resources: {}\n\nTry in another terminal:\n{}\n\nCtrl-C stops the cluster; its data stays.",
        samples.join(", "),
        lines(layout, &pid),
    )
}

fn lines(layout: &Layout, leader_pid: &str) -> String {
    let program = program();
    let mut lines = Vec::new();
    if layout.base_port != DEFAULT_PORT {
        let nodes: Vec<_> = layout.ids().map(|id| layout.client_address(id)).collect();
        lines.push(format!("export {NODES_VARIABLE}={}", nodes.join(",")));
    }
    lines.extend([
        format!("{program} acquire salesforce/acme --consumer crm-sync"),
        format!("{program} acquire hubspot/acme --operation search -- echo 'a call with a permit'"),
        format!("{program} resource usage salesforce/acme"),
        format!("kill -9 {leader_pid}   # the leader: every permit survives"),
        format!("{program} cluster status"),
        format!(
            "grpcurl -plaintext -d '{{\"resource\": \"hubspot/acme\"}}' {} tollgate.v1.PermitService/AcquirePermit",
            layout.client_address(1),
        ),
    ]);
    lines.into_iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
