//! Request ids that were granted, so that a retry gets the same permit and spends nothing.

use std::hash::{DefaultHasher, Hash, Hasher};

use minicbor::{Decode, Decoder, Encode, Encoder};
use smallvec::SmallVec;

use super::CowMap;
use crate::model::{Acquire, ClusterTime, Label, PermitId, RequestId, Slot, Span};

/// How long a granted request id is remembered at least, unless [`MAX_REQUEST_IDS`] younger ones push it out. The public
/// API states it.
pub(crate) const RETENTION: Span = Span::from_secs(10 * 60);

/// Ids remembered at most, so that memory is bounded whatever the rate: about 250 MB. The public API states it.
pub(crate) const MAX_REQUEST_IDS: usize = 1_000_000;

/// Ids past their retention that each new one may drop: more than one, so that the table shrinks after a peak, and few,
/// so that no request pays for a table that went stale as a whole.
const DROPPED_PER_INSERTION: usize = 4;

/// What was granted, as far as a replay repeats it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Remembered {
    #[n(0)]
    pub body: Fingerprint,
    #[n(1)]
    pub permit: PermitId,
    #[n(2)]
    pub granted_at: ClusterTime,
    #[n(3)]
    pub key: Label,
    #[cbor(n(4), with = "crate::model::inline")]
    pub slots: SmallVec<[Slot; 1]>,
    #[n(5)]
    pub use_within: Option<Span>,
    /// The permit was released or has expired since.
    #[n(6)]
    pub ended: bool,
    /// A retry was answered with it.
    #[n(7)]
    pub replayed: bool,
    /// Which of the request's resources the permit is for.
    #[cbor(n(8), default)]
    pub alternative: u32,
}

/// The ids of one group, over all its resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestIds {
    /// Permit ids rise with time: the first is the oldest.
    by_permit: CowMap<PermitId, (RequestId, Remembered)>,
    /// The same, by [`hash`]. Ids come in no order; among a million of them, to compare the ids themselves would wait for
    /// memory at every step of the search.
    by_hash: CowMap<(u64, PermitId), ()>,
}

impl RequestIds {
    /// Frees them, and asks for a `rest` after every few.
    pub(crate) fn free_with_rests(self, rest: &mut impl FnMut()) {
        self.by_permit.free_with_rests(rest);
        self.by_hash.free_with_rests(rest);
    }

    /// What the id was granted within the retention.
    pub(crate) fn get(&self, id: &RequestId, now: ClusterTime) -> Option<&Remembered> {
        self.find(id).filter(|granted| !is_stale(granted, now))
    }

    pub(crate) fn insert(&mut self, id: RequestId, granted: Remembered, now: ClusterTime) {
        let stale = self.find(&id).map(|stale| stale.permit);
        if let Some(stale) = stale {
            self.forget(stale);
        }
        self.add(id, granted);
        self.drop_oldest(MAX_REQUEST_IDS, now);
    }

    /// A retry was answered with the permit.
    pub(crate) fn note_replay(&mut self, id: &RequestId) {
        // Looked up first: a retry that comes a second time need not copy what a snapshot shares.
        let permit = self.find(id).filter(|granted| !granted.replayed).map(|granted| granted.permit);
        if let Some((_, granted)) = permit.and_then(|permit| self.by_permit.get_mut(&permit)) {
            granted.replayed = true;
        }
    }

    /// Whether a retry was answered with the permit.
    pub(crate) fn was_replayed(&self, permit: PermitId) -> bool {
        self.by_permit.get(&permit).is_some_and(|(_, granted)| granted.replayed)
    }

    /// The permit ended: a replay must not promise anything.
    pub(crate) fn end(&mut self, permit: PermitId) {
        if let Some((_, granted)) = self.by_permit.get_mut(&permit) {
            granted.ended = true;
        }
    }

    /// As if the id had never been granted.
    pub(crate) fn forget(&mut self, permit: PermitId) {
        if let Some((id, _)) = self.by_permit.remove(&permit) {
            self.by_hash.remove(&(hash(&id), permit));
        }
    }

    fn find(&self, id: &RequestId) -> Option<&Remembered> {
        // No permit has the id 0.
        let before = (hash(id), PermitId(0));
        let alike = self.by_hash.iter_after(Some(&before)).map(|(key, ())| *key);
        alike.take_while(|(hash, _)| *hash == before.0).find_map(|(_, permit)| {
            let (other, granted) = self.by_permit.get(&permit)?;
            (other == id).then_some(granted)
        })
    }

    fn add(&mut self, id: RequestId, granted: Remembered) {
        self.by_hash.insert((hash(&id), granted.permit), ());
        self.by_permit.insert(granted.permit, (id, granted));
    }

    /// Drops the oldest ids while they are stale or there are more than `max`, a few at a time.
    fn drop_oldest(&mut self, max: usize, now: ClusterTime) {
        for _ in 0..DROPPED_PER_INSERTION {
            let Some((&permit, (_, granted))) = self.by_permit.first() else { return };
            if !is_stale(granted, now) && self.by_permit.len() <= max {
                return;
            }
            self.forget(permit);
        }
    }
}

/// The same in every process, though nothing depends on it: hashes are not encoded. SipHash, because clients choose their ids, and
/// those that share a hash are compared one after the other.
fn hash(id: &RequestId) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// As it was when both tables were kept by id and by permit: what was granted by id, and ids by permit.
impl<C> Encode<C> for RequestIds {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(2)?.map(self.by_permit.len() as u64)?;
        for (_, (id, granted)) in self.by_permit.iter() {
            id.encode(e, ctx)?;
            granted.encode(e, ctx)?;
        }
        e.map(self.by_permit.len() as u64)?;
        for (permit, (id, _)) in self.by_permit.iter() {
            permit.encode(e, ctx)?;
            id.encode(e, ctx)?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for RequestIds {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let malformed = || minicbor::decode::Error::message("request ids are two maps");
        if d.array()? != Some(2) {
            return Err(malformed());
        }
        let mut ids = RequestIds::default();
        for _ in 0..d.map()?.ok_or_else(malformed)? {
            let id = RequestId::decode(d, ctx)?;
            ids.add(id, Remembered::decode(d, ctx)?);
        }
        d.skip()?;
        Ok(ids)
    }
}

fn is_stale(granted: &Remembered, now: ClusterTime) -> bool {
    now >= granted.granted_at + RETENTION
}

/// Tells one request body from another: FNV-1a with 128 bits over the request as the log encodes it. Not secure against
/// somebody who searches for two bodies of one fingerprint, who would only fool themself: the answer to the second is
/// the permit of the first.
///
/// The encoding of a request, and so its fingerprint, must not change between versions while a field that is new is
/// absent: replicas of two versions must agree on what is the same request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub(crate) struct Fingerprint(#[n(0)] u128);

impl Fingerprint {
    pub(crate) fn of(acquire: &Acquire) -> Fingerprint {
        let mut hash = Fnv1a(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        match minicbor::encode(acquire, &mut hash) {
            Ok(()) => Fingerprint(hash.0),
            Err(e) => match *e.as_write().expect("no type in a request refuses to be encoded") {},
        }
    }
}

struct Fnv1a(u128);

impl minicbor::encode::Write for Fnv1a {
    type Error = std::convert::Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
        const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
        for &byte in bytes {
            self.0 = (self.0 ^ u128::from(byte)).wrapping_mul(PRIME);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{Alternative, Priority, ResourceName};

    fn id(number: u64) -> RequestId {
        RequestId::new(&format!("request-{number}")).unwrap()
    }

    fn granted(number: u64, now: ClusterTime) -> Remembered {
        Remembered {
            body: Fingerprint(u128::from(number)),
            permit: PermitId(number),
            granted_at: now,
            key: Label::default(),
            slots: SmallVec::new(),
            use_within: None,
            ended: false,
            replayed: false,
            alternative: 0,
        }
    }

    /// As it was before there were alternatives, so that a newer node knows the retry of a request that an older one
    /// granted.
    #[test]
    fn a_request_without_alternatives_is_encoded_as_ever() {
        let label = |text: &str| Label::new(text).unwrap();
        let mut acquire = Acquire {
            resource: ResourceName::new("acme").unwrap(),
            operation: label("search"),
            cost: 3,
            amounts: Default::default(),
            consumer: label("sync"),
            subject: label(""),
            key: label("blue"),
            priority: Priority::High,
            lease: Some(Span::from_secs(5)),
            request_id: Some(id(1)),
            alternatives: vec![],
            coalesce_key: None,
        };
        let before = Fingerprint::of(&acquire);
        let bytes = b"\x8a\x64acme\x66search\x03\xa0\x64sync\x60\x64blue\x82\x02\x80\x1b\0\0\0\x01\x2a\x05\xf2\x00\x69request-1";
        assert_eq!(minicbor::to_vec(&acquire).unwrap(), bytes);
        acquire.alternatives.push(Alternative {
            resource: ResourceName::new("zeta").unwrap(),
            operation: label(""),
            cost: 1,
            amounts: Default::default(),
            key: label(""),
        });
        assert_ne!(Fingerprint::of(&acquire), before);
        let decoded: Acquire = minicbor::decode(&minicbor::to_vec(&acquire).unwrap()).unwrap();
        assert_eq!(decoded, acquire);
    }

    #[test]
    fn younger_ids_push_out_the_oldest() {
        let (mut ids, now) = (RequestIds::default(), ClusterTime(5));
        for number in 1..=10 {
            ids.insert(id(number), granted(number, now), now);
        }
        ids.drop_oldest(8, now);
        assert_eq!((1..=10).find(|number| ids.get(&id(*number), now).is_some()), Some(3));
    }

    #[test]
    fn stale_ids_go_when_others_come() {
        let mut ids = RequestIds::default();
        for number in 1..=6 {
            ids.insert(id(number), granted(number, ClusterTime(0)), ClusterTime(0));
        }
        let later = ClusterTime(0) + RETENTION;
        assert!((1..=6).all(|number| ids.get(&id(number), later).is_none()));
        ids.insert(id(6), granted(7, later), later);
        ids.insert(id(8), granted(8, later), later);
        assert_eq!((ids.by_permit.len(), ids.by_hash.len()), (2, 2));
        assert_eq!(ids.get(&id(6), later).map(|granted| granted.permit), Some(PermitId(7)));
    }

    #[test]
    fn ids_of_before_they_were_hashed_are_read() {
        let (mut ids, now) = (RequestIds::default(), ClusterTime(5));
        let (mut by_id, mut by_age) = (BTreeMap::new(), BTreeMap::new());
        for number in [3, 1, 2] {
            ids.insert(id(4 - number), granted(number, now), now);
            by_id.insert(id(4 - number), granted(number, now));
            by_age.insert(PermitId(number), id(4 - number));
        }
        let before = minicbor::to_vec((by_id, by_age)).unwrap();
        assert_eq!(minicbor::decode::<RequestIds>(&before).unwrap(), ids);
        assert_eq!(minicbor::decode::<RequestIds>(&minicbor::to_vec(&ids).unwrap()).unwrap(), ids);
    }
}
