//! A sorted map whose copies share what neither has changed since.
//!
//! A snapshot is encoded in the background from a copy of the state while grants go on, so copying must not stop them,
//! and neither may the first change after it. The entries lie in sorted chunks behind `Arc`: a copy costs one pointer
//! a chunk (a million entries: some 20,000 pointers), and a change afterwards copies one chunk at most.
//!
//! Most maps are small: the counters of a limit, the permits of a resource. They are one chunk, without a tree above it.
//!
//! **Invariant:** the first chunk is empty only where the map is, later ones never; all keys of a later chunk lie between its
//! bound, inclusive, and the bound of the next, exclusive, and all keys of the first below all bounds.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

use minicbor::{Decode, Decoder, Encode, Encoder};

/// Entries in a chunk: few enough that copying one is unnoticeable, enough that a copy of the map has few pointers.
const CHUNK_MAX: usize = 64;

/// A queue, because entries whose keys rise with time come at its end and go at its front.
type Chunk<K, V> = VecDeque<(K, V)>;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(crate) struct CowMap<K, V> {
    /// Absent until something is inserted.
    first: Option<Arc<Chunk<K, V>>>,
    later: BTreeMap<K, Arc<Chunk<K, V>>>,
    /// A chunk that was emptied, for the next: what comes at the end and goes at the front need not allocate.
    spare: Option<Arc<Chunk<K, V>>>,
    len: usize,
}

impl<K, V> Default for CowMap<K, V> {
    fn default() -> Self {
        CowMap::new()
    }
}

impl<K, V> CowMap<K, V> {
    pub(crate) const fn new() -> Self {
        CowMap { first: None, later: BTreeMap::new(), spare: None, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Frees it, and asks for a `rest` after every chunk.
    pub(crate) fn free_with_rests(self, rest: &mut impl FnMut()) {
        for chunk in self.first.into_iter().chain(self.later.into_values()) {
            drop(chunk);
            rest();
        }
    }

    pub(crate) fn first(&self) -> Option<(&K, &V)> {
        self.first.as_ref()?.front().map(|(key, value)| (key, value))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let chunks = self.first.iter().chain(self.later.values());
        chunks.flat_map(|chunk| chunk.iter()).map(|(key, value)| (key, value))
    }
}

impl<K: Ord + Clone, V: Clone> CowMap<K, V> {
    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        let chunk = match self.bounded(key) {
            Some((_, chunk)) => chunk,
            None => self.first.as_ref()?,
        };
        let at = position(chunk, key).ok()?;
        Some(&chunk[at].1)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let chunk = chunk_mut(&mut self.first, &mut self.later, key);
        let at = position(chunk, key).ok()?;
        Some(&mut Arc::make_mut(chunk)[at].1)
    }

    /// The value it replaces, if any.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let chunk = chunk_mut(&mut self.first, &mut self.later, &key);
        let at = match position(chunk, &key) {
            Ok(at) => return Some(std::mem::replace(&mut Arc::make_mut(chunk)[at].1, value)),
            Err(at) => at,
        };
        let entries = Arc::make_mut(chunk);
        if entries.len() < CHUNK_MAX {
            // The counter of a limit of the whole resource stays alone.
            if entries.is_empty() {
                entries.reserve_exact(1);
            }
            entries.insert(at, (key, value));
        } else {
            let upper = insert_into_full(entries, at, (key, value), &mut self.spare);
            self.later.insert(upper[0].0.clone(), upper);
        }
        self.len += 1;
        None
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let chunk = chunk_mut(&mut self.first, &mut self.later, key);
        let at = position(chunk, key).ok()?;
        let entries = Arc::make_mut(chunk);
        let (_, value) = entries.remove(at)?;
        if entries.is_empty() {
            self.drop_chunk(key);
        }
        self.len -= 1;
        Some(value)
    }

    /// The entries whose key is greater than `key`; all without one.
    pub(crate) fn iter_after(&self, key: Option<&K>) -> impl Iterator<Item = (&K, &V)> {
        let (chunk, bound) = match key.and_then(|key| self.bounded(key)) {
            Some((bound, chunk)) => (Some(chunk), Excluded(bound)),
            None => (self.first.as_ref(), Unbounded),
        };
        let begun = chunk.into_iter().flat_map(move |chunk| {
            let passed = key.map_or(0, |key| chunk.partition_point(|(other, _)| other <= key));
            chunk.range(passed..)
        });
        let rest = self.later.range::<K, _>((bound, Unbounded)).flat_map(|(_, chunk)| chunk.iter());
        begun.chain(rest).map(|(key, value)| (key, value))
    }

    /// The later chunk that the key belongs to, if it belongs to one.
    fn bounded(&self, key: &K) -> Option<(&K, &Arc<Chunk<K, V>>)> {
        self.later.range(..=key).next_back()
    }

    /// Drops the chunk that the key belonged to. The first stays where no other can take its place: what is taken and
    /// released over and over need not allocate.
    fn drop_chunk(&mut self, key: &K) {
        let bound = self.bounded(key).map(|(bound, _)| bound.clone());
        if let Some(bound) = bound {
            self.spare = self.later.remove(&bound);
        } else if let Some((_, next)) = self.later.pop_first() {
            self.spare = self.first.replace(next);
        }
    }
}

/// The chunk that the key belongs to.
fn chunk_mut<'a, K: Ord, V>(
    first: &'a mut Option<Arc<Chunk<K, V>>>,
    later: &'a mut BTreeMap<K, Arc<Chunk<K, V>>>,
    key: &K,
) -> &'a mut Arc<Chunk<K, V>> {
    match later.range_mut(..=key).next_back() {
        Some((_, chunk)) => chunk,
        None => first.get_or_insert_default(),
    }
}

/// Inserts an entry and splits off the upper part.
fn insert_into_full<K: Clone, V: Clone>(
    entries: &mut Chunk<K, V>,
    at: usize,
    entry: (K, V),
    spare: &mut Option<Arc<Chunk<K, V>>>,
) -> Arc<Chunk<K, V>> {
    if at == CHUNK_MAX {
        // Keys that only ever rise (permit ids, times) leave full chunks behind, not half-full ones.
        let mut upper = spare.take().unwrap_or_else(|| Arc::new(Chunk::with_capacity(CHUNK_MAX)));
        Arc::make_mut(&mut upper).push_back(entry);
        return upper;
    }
    let mut upper = entries.split_off(CHUNK_MAX / 2);
    match at.checked_sub(CHUNK_MAX / 2) {
        Some(at) => upper.insert(at, entry),
        None => entries.insert(at, entry),
    }
    Arc::new(upper)
}

/// Where a key is, or belongs. Keys that rise with time come at the end and go at the front, so the ends come first.
fn position<K: Ord, V>(chunk: &Chunk<K, V>, key: &K) -> Result<usize, usize> {
    if chunk.back().is_none_or(|(last, _)| last < key) {
        return Err(chunk.len());
    }
    if chunk.front().is_some_and(|(first, _)| first == key) {
        return Ok(0);
    }
    chunk.binary_search_by(|(other, _)| other.cmp(key))
}

/// Equal when the entries are: how they are divided into chunks depends on the history and means nothing.
impl<K: PartialEq, V: PartialEq> PartialEq for CowMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<K: Eq, V: Eq> Eq for CowMap<K, V> {}

impl<K: Ord + Clone, V: Clone> FromIterator<(K, V)> for CowMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = CowMap::default();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

impl<C, K: Encode<C>, V: Encode<C>> Encode<C> for CowMap<K, V> {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.map(self.len as u64)?;
        for (key, value) in self.iter() {
            key.encode(e, ctx)?;
            value.encode(e, ctx)?;
        }
        Ok(())
    }
}

impl<'b, C, K: Decode<'b, C> + Ord + Clone, V: Decode<'b, C> + Clone> Decode<'b, C> for CowMap<K, V> {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let entries = d.map()?.ok_or_else(|| minicbor::decode::Error::message("a map without its length"))?;
        (0..entries).map(|_| Ok((K::decode(d, ctx)?, V::decode(d, ctx)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn behaves_as_a_b_tree_map_and_copies_do_not_notice_changes(
            changes in prop::collection::vec((0u16..400, any::<bool>()), 0..1500),
            copy_at in 0usize..1500,
        ) {
            let (mut map, mut model) = (CowMap::default(), BTreeMap::new());
            let mut copy = (map.clone(), model.clone());
            for (step, (key, insert)) in changes.into_iter().enumerate() {
                if step == copy_at {
                    copy = (map.clone(), model.clone());
                }
                match insert {
                    true => prop_assert_eq!(map.insert(key, step), model.insert(key, step)),
                    false => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                }
                prop_assert_eq!(map.get(&key), model.get(&key));
                prop_assert_eq!(map.first(), model.first_key_value());
            }
            for (map, model) in [(map, model), copy] {
                prop_assert_eq!(map.len(), model.len());
                prop_assert!(map.iter().eq(model.iter()));
                prop_assert!(map.iter_after(Some(&200)).eq(model.range(201..)));
                let decoded: CowMap<u16, usize> = minicbor::decode(&minicbor::to_vec(&map).unwrap()).unwrap();
                prop_assert_eq!(decoded, map.clone());
                let (chunks, mut rests) = (map.len().div_ceil(CHUNK_MAX), 0);
                map.free_with_rests(&mut || rests += 1);
                prop_assert!(rests >= chunks);
            }
        }
    }
}
