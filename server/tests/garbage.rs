//! Bytes that were damaged, or never meant anything: whatever reads them says so, and nothing panics.

use std::{collections::BTreeMap, fs};

use proptest::prelude::*;
use tollgate_limiter::*;
use tollgate_server::{
    config::{Config, Flags, Settings},
    preset,
    raft::{
        call::{Call, Refusal, Reply},
        entry::{Entry, GROUP, VERSION, encode},
        machine::Machine,
        members::{Member, Members},
    },
    resource_file,
    storage::{data_dir::DataDir, snapshot_file},
};

const PRESET: &str = include_str!("../presets/github.toml");
const RESOURCES: &str = include_str!("../../deploy/resources.example.toml");
const CONFIGURATION: &str = include_str!("../../deploy/tollgate.toml");

/// A change to bytes, at a place that is a fraction of their length.
#[derive(Clone, Debug)]
enum Damage {
    Flip(f64, u8),
    Insert(f64, Vec<u8>),
    Cut(f64, f64),
    Truncate(f64),
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let at = |fraction: &f64| (bytes.len() as f64 * fraction) as usize;
        match self {
            Damage::Flip(place, bits) => {
                let place = at(place);
                bytes.get_mut(place).into_iter().for_each(|byte| *byte ^= bits);
            }
            Damage::Insert(place, new) => {
                let place = at(place);
                bytes.splice(place..place, new.iter().copied());
            }
            Damage::Cut(from, to) => {
                let (from, to) = (at(from).min(at(to)), at(from).max(at(to)));
                bytes.drain(from..to);
            }
            Damage::Truncate(place) => bytes.truncate(at(place)),
        }
    }
}

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let place = || 0.0..1.0;
    let one = prop_oneof![
        6 => (place(), 1..=u8::MAX).prop_map(|(place, bits)| Damage::Flip(place, bits)),
        3 => (place(), prop::collection::vec(any::<u8>(), 1..9)).prop_map(|(place, new)| Damage::Insert(place, new)),
        2 => (place(), place()).prop_map(|(from, to)| Damage::Cut(from, to)),
        1 => place().prop_map(Damage::Truncate),
    ];
    prop::collection::vec(one, 1..5)
}

/// Damaged bytes, or some that were never anything.
fn damaged(whole: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let changed = damage().prop_map(move |damage| {
        let mut bytes = whole.clone();
        damage.iter().for_each(|damage| damage.apply(&mut bytes));
        bytes
    });
    prop_oneof![8 => changed, 1 => prop::collection::vec(any::<u8>(), 0..300)]
}

fn resource() -> Resource {
    let limit = |name: &str, scope, kind| Limit {
        name: LimitName::new(name).expect("a name by the rules"),
        operations: vec![Label::new("search/*").expect("a name by the rules")],
        dimension: None,
        scope,
        max_scope_values: 10,
        shadow: false,
        kind,
    };
    let second = Span::from_secs(1);
    let slots = Concurrency {
        slots: 3,
        lease_default: second,
        lease_max: second,
        grace: second,
        counts_after: Span::ZERO,
        quarantine: second,
    };
    let window = SlidingWindow { amount: 9, period: second, resolution: 10 };
    Resource {
        name: ResourceName::new("vendor/account").expect("a name by the rules"),
        limits: vec![
            limit("slots", Scope::Resource, LimitKind::Concurrency(slots)),
            limit("window", Scope::Consumer, LimitKind::SlidingWindow(window)),
        ],
        keys: vec![Label::new("key").expect("a name by the rules")],
        dispatch_tolerance: second,
        settle_within: second,
        description: Description::default(),
        budgets: vec![],
        queueing: Queueing::default(),
        circuit_breaker: None,
        feedback: Box::default(),
        operation_costs: Vec::new(),
    }
}

fn request(number: u64) -> Acquire {
    let label = |text: &str| Label::new(text).expect("a name by the rules");
    Acquire {
        resource: resource().name,
        operation: label("search/contacts"),
        cost: 1,
        amounts: BTreeMap::new(),
        consumer: label("sync"),
        subject: label("jane"),
        key: label(""),
        priority: Priority::High,
        lease: None,
        request_id: Some(RequestId::new(&number.to_string()).expect("a name by the rules")),
        alternatives: vec![],
        coalesce_key: None,
    }
}

fn entry() -> Entry {
    let mut commands = vec![Command::from(resource())];
    commands.extend((0..5).map(|number| Command::from(request(number))));
    commands.push(Command::Renew(Renew { permit: PermitId(1), lease: None }));
    let stamp = Stamp { cluster: ClusterTime(7), wall: WallTime(9) };
    Entry {
        version: VERSION,
        group_id: GROUP,
        stamp,
        commands,
        registrations: vec![],
        wall_at_most: WallTime(9),
    }
}

fn machine() -> Machine {
    let address = |port: u16| format!("127.0.0.1:{port}");
    let member = Member {
        id: 1,
        peer_address: address(1),
        client_address: address(2),
        http_address: String::new(),
        incarnation: Some(7),
    };
    let members = Members { by_id: BTreeMap::from([(1, member)]), ..Members::default() };
    let mut machine = Machine::founded(members);
    machine.apply((2, 1), &entry(), &mut Vec::new(), &mut Vec::new());
    machine
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_entry_is_refused_or_is_another_one(bytes in damaged(encode(&entry()))) {
        // What a node can read, all read alike.
        if let Ok(entry) = Entry::decode(&bytes) {
            prop_assert_eq!(Entry::decode(&encode(&entry)), Ok(entry));
        }
    }

    #[test]
    fn a_damaged_snapshot_is_refused(bytes in damaged(snapshot_file::seal(&machine().encode()).to_vec())) {
        if bytes != *snapshot_file::seal(&machine().encode()) {
            prop_assert!(snapshot_file::open(&bytes).is_err());
        }
    }

    // Behind the checksum there is what another version wrote.
    #[test]
    fn a_strange_state_is_refused_or_goes_on(bytes in damaged(machine().encode())) {
        if let Ok(mut machine) = Machine::decode(&bytes) {
            machine.apply((3, 1), &entry(), &mut Vec::new(), &mut Vec::new());
            Machine::decode(&machine.encode()).map(|_| ()).map_err(TestCaseError::fail)?;
        }
    }

    #[test]
    fn a_damaged_call_between_nodes_is_refused(
        call in damaged(encode(&Call::Command { command: Command::from(request(1)), attempt: 1, wait: None })),
        refusal in damaged(encode(&Refusal::NotLeader { leader: Some(2) })),
    ) {
        let _ = minicbor::decode::<Call>(&call);
        let _ = minicbor::decode::<Reply>(&call);
        let _ = minicbor::decode::<Refusal>(&refusal);
    }

    #[test]
    fn a_damaged_preset_is_read_or_its_faults_are_told(bytes in damaged(PRESET.into())) {
        if let Err(faulty) = preset::read(&String::from_utf8_lossy(&bytes)) {
            prop_assert!(!faulty.0.is_empty());
        }
    }

    #[test]
    fn a_damaged_file_of_resources_is_read_or_its_faults_are_told(bytes in damaged(RESOURCES.into())) {
        if let Err(faulty) = resource_file::read(&String::from_utf8_lossy(&bytes)) {
            prop_assert!(!faulty.0.is_empty());
        }
    }
}

proptest! {
    // These go through files.
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_configuration_is_read_or_its_faults_are_told(bytes in damaged(CONFIGURATION.into())) {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &bytes).unwrap();
        let flags = Flags { config: Some(file.path().to_owned()), settings: Settings::default() };
        if let Err(faulty) = Config::load(flags) {
            prop_assert!(!faulty.to_string().is_empty());
        }
    }

    #[test]
    fn a_damaged_identity_is_refused_or_is_another_one(damage in damage()) {
        let directory = tempfile::tempdir().unwrap();
        drop(DataDir::open(directory.path(), "garbage", 1).unwrap());
        let path = directory.path().join("identity.toml");
        let mut bytes = fs::read(&path).unwrap();
        damage.iter().for_each(|damage| damage.apply(&mut bytes));
        fs::write(&path, &bytes).unwrap();
        let opened = DataDir::open(directory.path(), "garbage", 1);
        // Whatever it says is kept: a node never takes a directory for new that is not.
        prop_assert_eq!(fs::read(&path).unwrap(), bytes);
        if let Ok(opened) = opened {
            prop_assert_eq!((opened.identity().cluster.as_str(), opened.identity().node), ("garbage", 1));
        }
    }
}
