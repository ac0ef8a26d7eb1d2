//! The configuration file.

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use super::{LogFormat, Settings};
use crate::{
    raft::members::Member,
    toml_reader::{Fault, Reader, Section, parse},
};

const FORMATS: [(&str, LogFormat); 2] = [("human", LogFormat::Human), ("json", LogFormat::Json)];

/// Reads as much as can be read, and says what cannot.
pub fn read(text: &str) -> (Settings, Vec<Fault>) {
    let table = match parse(text) {
        Ok(table) => table,
        Err(fault) => return (Settings::default(), vec![fault]),
    };
    let mut reader = Reader::new(text);
    let settings = read_root(&mut reader, Section::root(&table));
    (settings, reader.into_faults())
}

fn read_root<'i>(reader: &mut Reader<'i>, mut root: Section<'_, 'i>) -> Settings {
    let mut settings = Settings::default();
    let presets = reader.texts(&mut root, "presets").unwrap_or_default();
    settings.presets = presets.into_iter().map(PathBuf::from).collect();
    if let Some(mut node) = reader.section(&mut root, "node") {
        settings.node_id = reader.integer(&mut node, "id");
        settings.data_dir = reader.text(&mut node, "data_dir");
        settings.join = reader.boolean(&mut node, "join");
        settings.huge_pages = reader.boolean(&mut node, "huge_pages");
        reader.finish(node);
    }
    if let Some(mut listen) = reader.section(&mut root, "listen") {
        settings.listen_client = listen_address(reader, &mut listen, "client");
        settings.listen_peer = listen_address(reader, &mut listen, "peer");
        settings.listen_http = listen_address(reader, &mut listen, "http");
        reader.finish(listen);
    }
    if let Some(mut cluster) = reader.section(&mut root, "cluster") {
        settings.cluster = reader.text(&mut cluster, "name");
        settings.election_timeout = reader.text(&mut cluster, "election_timeout");
        let members = reader.sections(&mut cluster, "members");
        settings.members = members.into_iter().map(|member| read_member(reader, member)).collect();
        reader.finish(cluster);
    }
    if let Some(mut storage) = reader.section(&mut root, "storage") {
        settings.snapshot_log = reader.text(&mut storage, "snapshot_log");
        settings.disk_reserve = reader.text(&mut storage, "disk_reserve");
        reader.finish(storage);
    }
    if let Some(mut log) = reader.section(&mut root, "log") {
        settings.log_level = reader.text(&mut log, "level");
        settings.log_format = reader.word(&mut log, "format", &FORMATS);
        reader.finish(log);
    }
    reader.finish(root);
    settings
}

fn listen_address<'i>(
    reader: &mut Reader<'i>,
    listen: &mut Section<'_, 'i>,
    key: &'static str,
) -> Option<SocketAddr> {
    reader.text(listen, key).map(|ListenAddress(address)| address)
}

/// An address of this machine: no name, because it may stand for several.
struct ListenAddress(SocketAddr);

impl FromStr for ListenAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<ListenAddress, &'static str> {
        let parsed = text.parse().map(ListenAddress);
        parsed.map_err(|_| "must be an IP address and a port, such as 0.0.0.0:7600 or [::]:7600")
    }
}

/// What is absent stays empty: the check of the whole says so.
fn read_member<'i>(reader: &mut Reader<'i>, mut section: Section<'_, 'i>) -> Member {
    let member = Member {
        id: reader.integer(&mut section, "id").unwrap_or_default(),
        peer_address: reader.text(&mut section, "peer").unwrap_or_default(),
        client_address: reader.text(&mut section, "client").unwrap_or_default(),
        http_address: reader.text(&mut section, "http").unwrap_or_default(),
        incarnation: None,
    };
    reader.finish(section);
    member
}
