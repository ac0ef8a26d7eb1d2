use clap::Parser;

use super::{file::read, *};

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    flags: Flags,
}

fn flags(args: &[&str]) -> Flags {
    CommandLine::try_parse_from([&["tollgate"], args].concat())
        .map(|line| line.flags)
        .unwrap_or_else(|e| panic!("{e}"))
}

fn faults_of(text: &str) -> Vec<String> {
    let (settings, mut faults) = read(text);
    if faults.is_empty() {
        faults = check(settings).expect_err("this configuration should be refused");
    }
    faults.iter().map(Fault::to_string).collect()
}

const GOOD: &str = r#"
[node]
id = 1
data_dir = "/var/lib/tollgate"
[cluster]
members = [
    { id = 1, peer = "127.0.0.1:7601", client = "127.0.0.1:7600", http = "127.0.0.1:7602" },
    { id = 2, peer = "127.0.0.1:7611", client = "127.0.0.1:7610" },
]
"#;

#[test]
fn the_example_is_valid_and_states_the_defaults() {
    let (settings, faults) = read(include_str!("../../../deploy/tollgate.toml"));
    assert_eq!(faults, []);
    let example = check(settings.clone()).unwrap();
    assert_eq!((example.id, example.members.len(), example.cluster.as_str()), (1, 3, "tollgate"));

    let silent = Settings {
        cluster: None,
        election_timeout: None,
        snapshot_log: None,
        disk_reserve: None,
        log_level: None,
        log_format: None,
        join: None,
        huge_pages: None,
        ..settings
    };
    assert_eq!(check(silent), Ok(example));
}

#[test]
fn defaults_are_filled() {
    let config = check(read(GOOD).0).unwrap();
    assert_eq!(config.listen.client.to_string(), "127.0.0.1:7600");
    assert_eq!(config.listen.peer.to_string(), "127.0.0.1:7601");
    assert_eq!(config.listen.http.to_string(), "127.0.0.1:7602");
    assert_eq!(config.snapshot_log, Size::mebibytes(64));
    assert_eq!(config.election_timeout, Pause::from_millis(500));
    assert_eq!((config.log.filter.as_str(), config.log.format), ("info", LogFormat::Human));
}

#[test]
fn flags_count_more_than_the_file() {
    let flags = flags(&[
        "--node-id=2",
        "--listen-client=127.0.0.1:9000",
        "--election-timeout=1s",
        "--log-format=json",
    ]);
    let config = check(flags.settings.over(read(GOOD).0)).unwrap();
    assert_eq!((config.id, config.listen.client.port()), (2, 9000));
    assert_eq!((config.election_timeout, config.log.format), (Pause::from_millis(1_000), LogFormat::Json));
    assert_eq!(config.data_dir, PathBuf::from("/var/lib/tollgate"));
}

#[test]
fn members_can_be_flags() {
    let flags = flags(&[
        "--node-id=1",
        "--data-dir=d",
        "--member=id=2,peer=127.0.0.1:2,client=127.0.0.1:3",
        "--member=id=1,peer=127.0.0.1:4,client=127.0.0.1:5,http=127.0.0.1:6",
    ]);
    let config = check(flags.settings).unwrap();
    let ids: Vec<NodeId> = config.members.iter().map(|member| member.id).collect();
    assert_eq!(ids, [1, 2]);
    assert_eq!(config.members[0].http_address, "127.0.0.1:6");

    let wrong = CommandLine::try_parse_from(["tollgate", "--member=id=1,pear=127.0.0.1:4"]);
    assert!(wrong.err().unwrap().to_string().contains("did you mean `peer`"));
}

#[test]
fn presets_can_be_flags_or_in_the_file() {
    let text = format!("presets = [\"/etc/a.toml\", \"/etc/b\"]\n{GOOD}");
    let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
    assert_eq!(check(read(&text).0).unwrap().presets, paths(&["/etc/a.toml", "/etc/b"]));
    let flags = flags(&["--presets=c.toml", "--presets=d:e"]);
    assert_eq!(check(flags.settings.over(read(&text).0)).unwrap().presets, paths(&["c.toml", "d", "e"]));
    assert_eq!(faults_of(&format!("presets = 7\n{GOOD}")), ["line 1: presets: must be a list, not integer"]);
}

#[test]
fn join_needs_no_members() {
    let config = check(flags(&["--node-id=4", "--data-dir=d", "--join"]).settings).unwrap();
    assert!(config.join && config.members.is_empty());
}

#[test]
fn each_fault_names_its_key() {
    let member = |fields: &str| {
        GOOD.replace("{ id = 2, peer = \"127.0.0.1:7611\", client = \"127.0.0.1:7610\" }", fields)
    };
    let cases = [
        (GOOD.replace("id = 1\n", "id = 0\n"), "node.id: must be 1 or more"),
        (GOOD.replace("id = 1\n", "id = -1\n"), "node.id: is negative"),
        (GOOD.replace("id = 1\n", "id = \"one\"\n"), "node.id: must be an integer"),
        (GOOD.replace("id = 1\n", "id = 3\n"), "cluster.members: this node (id 3) is not among the members"),
        (
            GOOD.replace("[cluster]", "[cluster]\nelection_timeout = \"50ms\""),
            "cluster.election_timeout: must be from 100ms to 2s",
        ),
        (
            GOOD.replace("[cluster]", "[cluster]\nelection_timeout = \"3s\""),
            "cluster.election_timeout: must be from 100ms to 2s",
        ),
        (
            GOOD.replace("[cluster]", "[cluster]\nelection_timeout = \"soon\""),
            "cluster.election_timeout: must be a duration such as 500ms or 2s",
        ),
        (GOOD.replace("data_dir", "data_dirr"), "unknown key; did you mean `data_dir`?"),
        (GOOD.replace("\"/var/lib/tollgate\"", "\"\""), "node.data_dir: is required"),
        (GOOD.replace("[cluster]", "[clutser]"), "clutser: unknown key"),
        (
            member(r#"{ id = 1, peer = "127.0.0.1:7611", client = "127.0.0.1:7610" }"#),
            "cluster.members[1].id: 1 is the id of members[0] already",
        ),
        (
            member(r#"{ id = 2, peer = "127.0.0.1:7601", client = "127.0.0.1:7610" }"#),
            "cluster.members[1].peer: 127.0.0.1:7601 is the address of cluster.members[0].peer already",
        ),
        (
            member(r#"{ id = 2, peer = "127.0.0.1:7611", client = "127.0.0.1:7601" }"#),
            "cluster.members[1].client: 127.0.0.1:7601 is the address of",
        ),
        (member(r#"{ id = 2, client = "127.0.0.1:7610" }"#), "cluster.members[1].peer: is required"),
        (
            member(r#"{ id = 2, peer = "nowhere", client = "127.0.0.1:7610" }"#),
            "cluster.members[1].peer: `nowhere` must be",
        ),
        (
            member(r#"{ id = 2, peer = "0.0.0.0:1", client = "a:2" }"#),
            "cluster.members[1].peer: `0.0.0.0:1` is a wildcard",
        ),
        (member("7"), "cluster.members[1]: must be a table"),
        (GOOD.replace("127.0.0.1:7601", "10.0.0.1:7601"), "listen.peer: is required"),
        (GOOD.replace("[cluster]", "[cluster]\nname = \"Big Cluster\""), "cluster.name: must be lower-case"),
        (
            format!("{GOOD}[listen]\nclient = \"localhost\""),
            "listen.client: must be an IP address and a port",
        ),
        (
            format!("{GOOD}[listen]\nclient = \"0.0.0.0:1\"\npeer = \"0.0.0.0:1\""),
            "listen.peer: 0.0.0.0:1 is the address of listen.client",
        ),
        (format!("{GOOD}[storage]\nsnapshot_log = \"64\""), "storage.snapshot_log: must be a size"),
        (format!("{GOOD}[storage]\nsnapshot_log = \"1B\""), "storage.snapshot_log: must be at least 1MiB"),
        (format!("{GOOD}[log]\nlevel = \"a=b=c\""), "log.level: must be error, warn"),
        (
            format!("{GOOD}[log]\nformat = \"jsn\""),
            "log.format: `jsn` is not known here; did you mean `json`?",
        ),
        (format!("{GOOD}[node"), "this is not TOML"),
        (GOOD.replace("[node]", "[node]\njoin = true"), "cluster.members: must be absent with join"),
    ];
    for (text, expected) in cases {
        let faults = faults_of(&text);
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{expected}\n{faults:#?}");
    }
}

#[test]
fn all_faults_come_at_once_with_their_lines() {
    let faults = faults_of("[node]\nid = \"x\"\njoin = 1\nnmae = 2\n[log]\nformat = \"xml\"\n");
    assert_eq!(faults.len(), 4, "{faults:#?}");
    assert!(faults[0].starts_with("line 2: node.id"));
    assert!(faults[3].starts_with("line 6: log.format"));
}

#[test]
fn all_that_is_required_is_named_at_once() {
    let faults = faults_of("");
    assert_eq!(faults.len(), 3, "{faults:#?}");
    for (fault, flag) in faults.iter().zip(["--node-id", "--data-dir", "--member"]) {
        assert!(fault.contains(flag), "{fault}");
    }
}

#[test]
fn an_absent_file_is_named() {
    let error = Config::load(flags(&["--config=/nonexistent/tollgate.toml"])).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/tollgate.toml"));
}

#[test]
fn unreadable_settings_are_not_called_missing_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tollgate.toml");
    fs::write(&path, GOOD.replace("id = 1\n", "id = \"x\"\n")).unwrap();
    let error = Config::load(flags(&["--config", path.to_str().unwrap()])).unwrap_err();
    let ConfigError::Faulty { faults, .. } = error else { panic!("{error}") };
    assert_eq!(faults.len(), 1, "{faults:?}");
}
