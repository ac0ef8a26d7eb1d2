//! What is replicated: the limiter, and who belongs to the cluster. Log entries in, answers out.

use std::sync::Arc;

use minicbor::{Decode, Encode, bytes::ByteVec};
use raft::eraftpb::ConfState;
use tollgate_limiter::{Answer, Limiter, WallTime};

use super::{
    entry::{Change, Entry, Registration, encode},
    members::{Members, NodeId},
    pieces::Pieces,
};

/// The version of the snapshots that are written.
const VERSION: u32 = 1;

/// Where the log of a founded cluster begins: all founders write the same snapshot at this entry.
pub const FOUNDING_INDEX: u64 = 1;

/// The term of that entry.
pub const FOUNDING_TERM: u64 = 1;

/// The replicated state. Cloning is cheap: the copies share what neither has changed since.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    limiter: Limiter,
    members: Arc<Members>,
    members_digest: u64,
    configuration: Configuration,
    wall_at_most: WallTime,
    index: u64,
    term: u64,
}

/// Who votes, as Raft's `ConfState` has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
struct Configuration {
    #[n(0)]
    voters: Vec<NodeId>,
    #[n(1)]
    learners: Vec<NodeId>,
    #[n(2)]
    voters_outgoing: Vec<NodeId>,
    #[n(3)]
    learners_next: Vec<NodeId>,
    #[n(4)]
    auto_leave: bool,
}

/// A machine as it is written. The limiter is encoded already, whatever holds its bytes.
#[derive(Encode, Decode)]
pub struct Image<L> {
    #[n(0)]
    version: u32,
    #[n(1)]
    index: u64,
    #[n(2)]
    term: u64,
    #[n(3)]
    configuration: Configuration,
    #[n(4)]
    members: Members,
    #[n(5)]
    limiter: L,
    #[n(6)]
    wall_at_most: WallTime,
}

/// How a registration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// The incarnation is recorded, now or before.
    Recorded,
    /// Another one was recorded before: the member lost its disk.
    Differs(NodeId),
    /// There is no such member.
    NoMember(NodeId),
}

impl Machine {
    /// The state that a new cluster begins with: these members, all voters, and nothing else.
    pub fn founded(members: Members) -> Machine {
        let voters = members.by_id.keys().copied().collect();
        let configuration = Configuration { voters, ..Configuration::default() };
        let mut machine =
            Machine { configuration, index: FOUNDING_INDEX, term: FOUNDING_TERM, ..Machine::default() };
        machine.set_members(members);
        machine
    }

    /// Applies an entry. One answer a command is pushed to `answers`, one result a registration to `registered`.
    pub fn apply(
        &mut self,
        (index, term): (u64, u64),
        entry: &Entry,
        answers: &mut Vec<Answer>,
        registered: &mut Vec<Registered>,
    ) {
        (self.index, self.term) = (index, term);
        self.wall_at_most = entry.wall_at_most;
        self.limiter.apply(entry.stamp, &entry.commands, answers);
        registered.extend(entry.registrations.iter().map(|registration| self.register(registration)));
    }

    /// Applies an entry that carries nothing, such as a new leader's first.
    pub fn skip(&mut self, (index, term): (u64, u64)) {
        (self.index, self.term) = (index, term);
    }

    /// Applies a change of the configuration that Raft made of `change`. A member is gone once no configuration has it:
    /// while the joint one still counts its vote, its address is needed.
    pub fn reconfigure(&mut self, position: (u64, u64), change: Option<Change>, conf_state: &ConfState) {
        self.skip(position);
        self.configuration = Configuration::from(conf_state);
        let mut members = Members::clone(&self.members);
        if let Some(Change::Add(member)) = change {
            members.by_id.insert(member.id, member);
        }
        let gone: Vec<_> =
            members.by_id.keys().copied().filter(|id| !self.configuration.contains(*id)).collect();
        for id in gone {
            members.by_id.remove(&id);
            members.removed.insert(id);
        }
        self.set_members(members);
    }

    /// The limiter.
    pub fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    /// What the wall showed at the last stamp, or more.
    pub fn wall_at_most(&self) -> WallTime {
        self.wall_at_most
    }

    /// Who belongs to the cluster.
    pub fn members(&self) -> &Arc<Members> {
        &self.members
    }

    /// Who votes; while the configuration is joint, the new ones.
    pub fn voters(&self) -> &[NodeId] {
        &self.configuration.voters
    }

    /// Who follows without a vote.
    pub fn learners(&self) -> &[NodeId] {
        &self.configuration.learners
    }

    /// Whether the configuration has this node in any role.
    pub fn has_node(&self, id: NodeId) -> bool {
        self.configuration.contains(id)
    }

    /// Whether a change of the voters is half done.
    pub fn is_joint(&self) -> bool {
        !self.configuration.voters_outgoing.is_empty()
    }

    /// The last entry applied.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The term of the last entry applied.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// The configuration in Raft's words.
    pub fn conf_state(&self) -> ConfState {
        ConfState::from(&self.configuration)
    }

    /// Digest of the state: equal on all nodes at the same entry, or they have diverged. It covers the members, so that
    /// founders who were told different ones notice.
    pub fn digest(&self) -> u64 {
        self.limiter.digest() ^ self.members_digest
    }

    /// The whole state, for a snapshot.
    pub fn encode(&self) -> Vec<u8> {
        encode(&self.image(|| ()))
    }

    /// The same, to be written. Asks for a `rest` after every piece, some tenths of a millisecond of work.
    pub fn image(&self, rest: impl FnMut()) -> Image<Pieces> {
        Image {
            version: VERSION,
            index: self.index,
            term: self.term,
            configuration: self.configuration.clone(),
            members: Members::clone(&self.members),
            limiter: Pieces::filled(|sink| self.limiter.encode_into(sink), rest),
            wall_at_most: self.wall_at_most,
        }
    }

    /// Frees a copy, and asks for a `rest` after every piece.
    pub fn free_with_rests(self, rest: impl FnMut()) {
        self.limiter.free_with_rests(rest);
    }

    /// The state from a snapshot. The error is a reason for people.
    pub fn decode(bytes: &[u8]) -> Result<Machine, String> {
        let image: Image<ByteVec> = minicbor::decode(bytes).map_err(|e| e.to_string())?;
        if image.version != VERSION {
            return Err(format!("it has version {}, and this node knows {VERSION}", image.version));
        }
        let Image { index, term, configuration, members, limiter, wall_at_most, .. } = image;
        let limiter = Limiter::decode(&limiter).map_err(|e| e.to_string())?;
        let mut machine = Machine { limiter, configuration, wall_at_most, index, term, ..Machine::default() };
        machine.set_members(members);
        Ok(machine)
    }

    fn register(&mut self, registration: &Registration) -> Registered {
        let known = self.members.by_id.get(&registration.id).map(|member| member.incarnation);
        match known {
            None => Registered::NoMember(registration.id),
            Some(Some(known)) if known == registration.incarnation => Registered::Recorded,
            Some(Some(_)) => Registered::Differs(registration.id),
            Some(None) => {
                let mut members = Members::clone(&self.members);
                if let Some(member) = members.by_id.get_mut(&registration.id) {
                    member.incarnation = Some(registration.incarnation);
                }
                self.set_members(members);
                Registered::Recorded
            }
        }
    }

    fn set_members(&mut self, members: Members) {
        self.members_digest = fnv1a(&encode(&members));
        self.members = Arc::new(members);
    }
}

impl Configuration {
    fn contains(&self, id: NodeId) -> bool {
        [&self.voters, &self.learners, &self.voters_outgoing, &self.learners_next]
            .iter()
            .any(|ids| ids.contains(&id))
    }
}

impl From<&ConfState> for Configuration {
    fn from(state: &ConfState) -> Configuration {
        // Raft keeps them in hash sets: sorted, all nodes write the same snapshot.
        let sorted = |ids: &[NodeId]| {
            let mut ids = ids.to_vec();
            ids.sort_unstable();
            ids
        };
        Configuration {
            voters: sorted(&state.voters),
            learners: sorted(&state.learners),
            voters_outgoing: sorted(&state.voters_outgoing),
            learners_next: sorted(&state.learners_next),
            auto_leave: state.auto_leave,
        }
    }
}

impl From<&Configuration> for ConfState {
    fn from(configuration: &Configuration) -> ConfState {
        let mut state = ConfState::default();
        state.set_voters(configuration.voters.clone());
        state.set_learners(configuration.learners.clone());
        state.set_voters_outgoing(configuration.voters_outgoing.clone());
        state.set_learners_next(configuration.learners_next.clone());
        state.set_auto_leave(configuration.auto_leave);
        state
    }
}

/// FNV-1a (Fowler, Noll, Vo): enough to tell two honest states apart.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
