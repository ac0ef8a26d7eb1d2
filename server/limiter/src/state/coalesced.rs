//! What is coalesced at one resource: calls under way that others wait for, and the results of those that are over.

use minicbor::{Decode, Decoder, Encode, Encoder};

use super::{Blank, CowMap};
use crate::model::{ClusterTime, CoalesceKey, CoalesceKeys, PermitId, ResultBytes};

/// Coalesced calls of a resource that are under way at a time. The public API states it.
pub(crate) const MAX_CALLS: usize = 10_000;

/// Results that a resource keeps at most. The public API states it.
const MAX_RESULTS: usize = 10_000;

/// Bytes of results that a resource keeps at most, by [`Kept::weight`]. The public API states it.
const MAX_BYTES: u64 = 16 << 20;

/// Calls and results, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Coalesced {
    calls: CowMap<CoalesceKey, Call>,
    results: CowMap<CoalesceKey, Kept>,
    /// The keys of the results by their end.
    by_end: CowMap<(ClusterTime, CoalesceKey), ()>,
    /// What all results weigh.
    bytes: u64,
}

/// A call under way.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Call {
    /// Whose it is.
    #[n(0)]
    pub permit: PermitId,
    /// From then on it is another's to make. Kept here so that nothing depends on when the permit's record is cleared away.
    #[n(1)]
    pub free_at: ClusterTime,
    /// Its results were invalidated after it had begun: it leaves none.
    #[n(2)]
    pub is_outdated: bool,
}

/// A result that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Kept {
    #[n(0)]
    pub bytes: ResultBytes,
    #[n(1)]
    pub since: ClusterTime,
    /// From then on it counts for nothing, whether or not it has been cleared away.
    #[n(2)]
    pub until: ClusterTime,
}

impl Kept {
    /// What it takes of memory, roughly: its bytes, and twice its key beside what every entry takes.
    pub(crate) fn weight(&self, key: &CoalesceKey) -> u64 {
        const ENTRY: usize = 200;
        (self.bytes.as_slice().len() + 2 * key.as_str().len() + ENTRY) as u64
    }
}

impl Blank for Coalesced {
    fn blank() -> &'static Coalesced {
        static BLANK: Coalesced =
            Coalesced { calls: CowMap::new(), results: CowMap::new(), by_end: CowMap::new(), bytes: 0 };
        &BLANK
    }
}

impl Coalesced {
    pub(crate) fn is_empty(&self) -> bool {
        self.calls.len() == 0 && self.results.len() == 0
    }

    /// The call that others wait for.
    pub(crate) fn call(&self, key: &CoalesceKey, now: ClusterTime) -> Option<&Call> {
        self.calls.get(key).filter(|call| now < call.free_at)
    }

    /// Whether no further call may begin.
    pub(crate) fn is_full(&self) -> bool {
        self.calls.len() >= MAX_CALLS
    }

    pub(crate) fn begin(&mut self, key: CoalesceKey, permit: PermitId, free_at: ClusterTime) {
        self.calls.insert(key, Call { permit, free_at, is_outdated: false });
    }

    /// Moves the end of the holder's lease.
    pub(crate) fn extend(&mut self, key: &CoalesceKey, permit: PermitId, free_at: ClusterTime) {
        if let Some(call) = self.calls.get_mut(key).filter(|call| call.permit == permit) {
            call.free_at = free_at;
        }
    }

    /// Ends the call, unless it is another permit's by now.
    pub(crate) fn end(&mut self, key: &CoalesceKey, permit: PermitId) -> Option<Call> {
        self.calls.get(key).filter(|call| call.permit == permit)?;
        self.calls.remove(key)
    }

    /// Lets no call under way leave a result. Takes time in proportion to the calls.
    pub(crate) fn outdate(&mut self, keys: &CoalesceKeys) {
        let outdated = self.calls.iter().map(|(key, _)| key).filter(|key| keys.contain(key));
        for key in outdated.cloned().collect::<Vec<_>>() {
            if let Some(call) = self.calls.get_mut(&key) {
                call.is_outdated = true;
            }
        }
    }

    /// The result, if it still counts.
    pub(crate) fn result(&self, key: &CoalesceKey, now: ClusterTime) -> Option<&Kept> {
        self.results.get(key).filter(|kept| now < kept.until)
    }

    pub(crate) fn results(&self) -> impl Iterator<Item = (&CoalesceKey, &Kept)> {
        self.results.iter()
    }

    /// Adds a result under a key that has none.
    pub(crate) fn keep(&mut self, key: CoalesceKey, kept: Kept) {
        self.bytes += kept.weight(&key);
        self.by_end.insert((kept.until, key.clone()), ());
        self.results.insert(key, kept);
    }

    pub(crate) fn drop_result(&mut self, key: &CoalesceKey) -> Option<Kept> {
        let kept = self.results.remove(key)?;
        self.bytes -= kept.weight(key);
        self.by_end.remove(&(kept.until, key.clone()));
        Some(kept)
    }

    /// While there is more than may be, the key of the result that ends first.
    pub(crate) fn surplus(&self) -> Option<CoalesceKey> {
        let is_over = self.results.len() > MAX_RESULTS || self.bytes > MAX_BYTES;
        self.by_end.first().filter(|_| is_over).map(|((_, key), ())| key.clone())
    }
}

/// Both tables by key; the rest follows from them.
impl<C> Encode<C> for Coalesced {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(2)?.encode_with(&self.calls, ctx)?.encode_with(&self.results, ctx)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Coalesced {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        if d.array()? != Some(2) {
            return Err(minicbor::decode::Error::message("what is coalesced are two maps"));
        }
        let mut coalesced = Coalesced { calls: CowMap::decode(d, ctx)?, ..Coalesced::default() };
        for (key, kept) in CowMap::<CoalesceKey, Kept>::decode(d, ctx)?.iter() {
            coalesced.keep(key.clone(), kept.clone());
        }
        Ok(coalesced)
    }
}
