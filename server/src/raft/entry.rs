//! What the log carries: the commands of one loop of the leader, with one stamp; and changes of the membership.

use std::convert::Infallible;

use minicbor::{Decode, Encode, Encoder};
use tollgate_limiter::{Command, Stamp, WallTime};

use super::members::{Incarnation, Member, NodeId};

/// The version that is written. An entry of a newer one stops the node: it cannot know what the others make of it.
pub const VERSION: u32 = 1;

/// The only Raft group so far.
pub const GROUP: u64 = 0;

/// Commands in one entry, at most.
pub const COMMANDS_MAX: u64 = 4_096;

/// An entry takes no more commands once it has this many bytes: it stays well below what one message may carry.
pub const BYTES_FULL: usize = 512 << 10;

/// The first contact with a member: from then on its data directory is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Registration {
    /// Which member.
    #[n(0)]
    pub id: NodeId,
    /// Its data directory's.
    #[n(1)]
    pub incarnation: Incarnation,
}

/// An entry. What is applied, in order: the stamp, the commands, the registrations.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    /// [`VERSION`].
    #[n(0)]
    pub version: u32,
    /// [`GROUP`].
    #[n(1)]
    pub group_id: u64,
    /// When the leader proposed it.
    #[n(2)]
    pub stamp: Stamp,
    /// For the limiter.
    #[n(3)]
    pub commands: Vec<Command>,
    /// For the members.
    #[n(4)]
    pub registrations: Vec<Registration>,
    /// What the wall showed at the stamp, or more: see [`super::cluster_time`].
    #[n(5)]
    pub wall_at_most: WallTime,
}

impl Entry {
    /// Reads an entry. The error is a reason for people.
    pub fn decode(bytes: &[u8]) -> Result<Entry, String> {
        // The version first: a newer one may have another shape.
        let mut head = minicbor::Decoder::new(bytes);
        head.array().map_err(|e| e.to_string())?;
        match head.u32().map_err(|e| e.to_string())? {
            VERSION => minicbor::decode(bytes).map_err(|e| e.to_string()),
            newer => Err(format!("it has version {newer}, and this node knows {VERSION}")),
        }
    }
}

/// An entry in the making: each command is encoded as it comes, so that the size is known.
#[derive(Debug)]
pub struct EntryBuilder {
    commands: Vec<Command>,
    encoded: Vec<u8>,
}

/// Most commands take less.
const COMMAND_BYTES: usize = 64;

impl EntryBuilder {
    /// With room for so many commands.
    pub fn with_room(commands: usize) -> EntryBuilder {
        let encoded = Vec::with_capacity(commands * COMMAND_BYTES);
        EntryBuilder { commands: Vec::with_capacity(commands), encoded }
    }

    /// Adds a command.
    pub fn push(&mut self, command: Command) {
        minicbor::encode(&command, &mut self.encoded).expect(INTO_MEMORY);
        self.commands.push(command);
    }

    /// Whether no more should be added.
    pub fn is_full(&self) -> bool {
        self.commands.len() as u64 >= COMMANDS_MAX || self.encoded.len() >= BYTES_FULL
    }

    /// The entry, and how the log has it: whoever proposes it need not read it again to apply it.
    pub fn finish(
        self,
        stamp: Stamp,
        registrations: Vec<Registration>,
        wall_at_most: WallTime,
    ) -> (Entry, Vec<u8>) {
        let EntryBuilder { commands, encoded } = self;
        let entry = Entry { version: VERSION, group_id: GROUP, stamp, commands, registrations, wall_at_most };
        let bytes = write(&entry, &encoded).expect(INTO_MEMORY);
        (entry, bytes)
    }
}

/// As the derived encoding of [`Entry`] does; a test holds them together.
fn write(entry: &Entry, commands: &[u8]) -> Result<Vec<u8>, minicbor::encode::Error<Infallible>> {
    let mut e = Encoder::new(Vec::with_capacity(commands.len() + 64));
    e.array(6)?.u32(entry.version)?.u64(entry.group_id)?.encode(entry.stamp)?;
    e.array(entry.commands.len() as u64)?;
    e.writer_mut().extend_from_slice(commands);
    e.encode(&entry.registrations)?.encode(entry.wall_at_most)?;
    Ok(e.into_writer())
}

pub(super) const INTO_MEMORY: &str = "a vector takes everything, and no type of ours refuses to be encoded";

/// Encodes a value by its numbered fields.
pub fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect(INTO_MEMORY)
}

/// What a configuration change means to the members; it travels in the change's context.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Change {
    /// A new member, as a learner.
    #[n(0)]
    Add(#[n(0)] Member),
    /// The learner becomes a voter.
    #[n(1)]
    Promote(#[n(0)] NodeId),
    /// The member leaves.
    #[n(2)]
    Remove(#[n(0)] NodeId),
}

impl Change {
    /// Whom it is about.
    pub fn id(&self) -> NodeId {
        match self {
            Change::Add(member) => member.id,
            Change::Promote(id) | Change::Remove(id) => *id,
        }
    }
}

#[cfg(test)]
mod tests {
    use tollgate_limiter::{ClusterTime, PermitId, Renew};

    use super::*;

    #[test]
    fn the_builder_writes_what_the_derived_decoding_reads() {
        let commands: Vec<_> =
            (0..300).map(|id| Command::Renew(Renew { permit: PermitId(id), lease: None })).collect();
        let registrations = vec![Registration { id: 3, incarnation: u64::MAX }];
        let stamp = Stamp { cluster: ClusterTime(7), wall: WallTime(-9) };
        let mut builder = EntryBuilder::with_room(1);
        commands.iter().cloned().for_each(|command| builder.push(command));
        let wall_at_most = WallTime(5);
        let (finished, bytes) = builder.finish(stamp, registrations.clone(), wall_at_most);
        let entry = Entry { version: VERSION, group_id: GROUP, stamp, commands, registrations, wall_at_most };
        assert_eq!(finished, entry);
        assert_eq!(bytes, minicbor::to_vec(&entry).unwrap());
        assert_eq!(Entry::decode(&bytes), Ok(entry));
    }

    #[test]
    fn a_newer_version_is_refused_by_its_number() {
        let error = Entry::decode(&[0x82, 0x02, 0xf6]).unwrap_err();
        assert!(error.contains("version 2"), "{error}");
    }
}
