//! `tollgate cluster`.

use std::process::ExitCode;

use serde_json::{Value, json};
use tollgate_client::{
    Client,
    v1::{AddMemberRequest, GetClusterResponse, Member, MemberRole},
};

use super::{Failure, Output, duration, output::wire_seconds, table::table};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Shows the members, and who leads.
    Status,
    /// Adds a node, with --join and an empty data directory. Start it first; it waits. It votes once it has caught up.
    Add(AddArgs),
    /// Removes a node, dead or alive, for ever: its id is never used again. While another voter is down, remove only that one.
    Remove {
        /// Its id.
        id: u64,
    },
    /// Hands leadership to another voter.
    Transfer {
        /// To whom [default: the voter that is furthest along].
        #[arg(default_value_t = 0, hide_default_value = true)]
        to: u64,
    },
}

#[derive(Debug, clap::Args)]
pub struct AddArgs {
    /// The new id: 1 or more, never used before in this cluster.
    id: u64,
    /// Where the other nodes reach it.
    #[arg(long, value_name = "HOST:PORT")]
    peer: String,
    /// Where clients reach it.
    #[arg(long, value_name = "HOST:PORT")]
    client: String,
    /// Where it serves metrics and health.
    #[arg(long, value_name = "HOST:PORT", default_value = "", hide_default_value = true)]
    http: String,
}

pub async fn run(client: &Client, output: Output, command: Command) -> Result<ExitCode, Failure> {
    let cluster = client.cluster();
    match command {
        Command::Status => {
            let view = cluster.get().await?;
            output.print(|| status_text(&view), || status_json(&view))?;
        }
        Command::Add(AddArgs { id, peer, client, http }) => {
            let request =
                AddMemberRequest { id, peer_address: peer, client_address: client, http_address: http };
            let member = cluster.add(request).await?;
            output.print(
                || format!("added node {id}; it votes once it has caught up: see `tollgate cluster status`"),
                || json!({ "added": member_json(&member) }),
            )?;
        }
        Command::Remove { id } => {
            cluster.remove(id).await?;
            output.print(|| format!("removed node {id}"), || json!({ "removed": id }))?;
        }
        Command::Transfer { to } => {
            let leader = cluster.transfer(to).await?;
            output.print(|| format!("node {leader} leads"), || json!({ "leader_id": leader }))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn status_text(view: &GetClusterResponse) -> String {
    let leader = match view.leader_id {
        0 => "no leader is known".to_owned(),
        id => format!("node {id} leads"),
    };
    let rows: Vec<_> = view
        .members
        .iter()
        .map(|member| {
            [
                member.id.to_string(),
                if member.leader { "leader".to_owned() } else { role(member).to_owned() },
                if member.reachable { "yes" } else { "no" }.to_owned(),
                member.matched_index.to_string(),
                member.client_address.clone(),
                member.peer_address.clone(),
                member.http_address.clone(),
                member.version.clone(),
            ]
        })
        .collect();
    let headings = ["NODE", "ROLE", "REACHABLE", "MATCHED", "CLIENTS", "PEERS", "HTTP", "VERSION"];
    format!(
        "cluster {}: {leader}, term {}, commit {}\nnode {} answers: applied {}, state {}, cluster time {}\n\n{}",
        view.cluster,
        view.term,
        view.commit_index,
        view.answered_by,
        view.applied_index,
        view.state_hash,
        duration::wire(view.cluster_time),
        table(headings, &rows),
    )
}

fn status_json(view: &GetClusterResponse) -> Value {
    json!({
        "cluster": view.cluster,
        "leader_id": view.leader_id,
        "term": view.term,
        "commit_index": view.commit_index,
        "applied_index": view.applied_index,
        "state_hash": view.state_hash,
        "cluster_time_seconds": wire_seconds(view.cluster_time),
        "answered_by": view.answered_by,
        "members": view.members.iter().map(member_json).collect::<Vec<_>>(),
    })
}

fn member_json(member: &Member) -> Value {
    json!({
        "id": member.id,
        "role": role(member),
        "leader": member.leader,
        "reachable": member.reachable,
        "matched_index": member.matched_index,
        "client_address": member.client_address,
        "peer_address": member.peer_address,
        "http_address": member.http_address,
        "version": member.version,
    })
}

fn role(member: &Member) -> &'static str {
    match member.role() {
        MemberRole::Voter => "voter",
        MemberRole::Learner => "learner",
        MemberRole::Unspecified => "unknown",
    }
}
