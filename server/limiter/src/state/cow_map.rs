//! A sorted map whose copies share what neither has changed since.
//!
//! A snapshot is encoded in the background from a copy of the state while grants go on, so copying must not stop them,
//! and neither may the first change after it. The entries lie in sorted chunks behind `Arc`: a copy costs one pointer
//! a chunk (a million entries: some 20,000 pointers), and a change afterwards copies one chunk at most.
//!
//! **Invariant:** chunks are never empty, and all keys of a chunk lie between its bound, inclusive, and the bound of the
//! next, exclusive.

use std::{
    collections::BTreeMap,
    ops::Bound::{Included, Unbounded},
    sync::Arc,
};

use minicbor::{Decode, Decoder, Encode, Encoder};

/// Entries in a chunk: few enough that copying one is unnoticeable, enough that a copy of the map has few pointers.
const CHUNK_MAX: usize = 64;

type Chunk<K, V> = Vec<(K, V)>;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(crate) struct CowMap<K, V> {
    chunks: BTreeMap<K, Arc<Chunk<K, V>>>,
    len: usize,
}

impl<K, V> Default for CowMap<K, V> {
    fn default() -> Self {
        CowMap { chunks: BTreeMap::new(), len: 0 }
    }
}

impl<K, V> CowMap<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn first(&self) -> Option<(&K, &V)> {
        self.iter().next()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.chunks.values().flat_map(|chunk| chunk.iter()).map(|(key, value)| (key, value))
    }
}

impl<K: Ord + Clone, V: Clone> CowMap<K, V> {
    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        let chunk = self.chunks.range(..=key).next_back()?.1;
        let at = position(chunk, key).ok()?;
        Some(&chunk[at].1)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let (_, chunk) = self.chunk_mut(key)?;
        let at = position(chunk, key).ok()?;
        Some(&mut Arc::make_mut(chunk)[at].1)
    }

    /// The value it replaces, if any.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.lower_first_bound(&key);
        let Some((_, chunk)) = self.chunk_mut(&key) else {
            self.chunks.insert(key.clone(), Arc::new(vec![(key, value)]));
            self.len += 1;
            return None;
        };
        let entries = Arc::make_mut(chunk);
        let at = match position(entries, &key) {
            Ok(at) => return Some(std::mem::replace(&mut entries[at].1, value)),
            Err(at) => at,
        };
        entries.insert(at, (key, value));
        if entries.len() > CHUNK_MAX {
            // Keys that only ever rise (permit ids, times) leave full chunks behind, not half-full ones.
            let split = if at == CHUNK_MAX { CHUNK_MAX } else { CHUNK_MAX / 2 };
            let upper = entries.split_off(split);
            self.chunks.insert(upper[0].0.clone(), Arc::new(upper));
        }
        self.len += 1;
        None
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let (bound, chunk) = self.chunk_mut(key)?;
        let at = position(chunk, key).ok()?;
        let emptied = (chunk.len() == 1).then(|| bound.clone());
        let (_, value) = Arc::make_mut(chunk).remove(at);
        if let Some(bound) = emptied {
            self.chunks.remove(&bound);
        }
        self.len -= 1;
        Some(value)
    }

    /// The entries whose key is greater than `key`; all without one.
    pub(crate) fn iter_after(&self, key: Option<&K>) -> impl Iterator<Item = (&K, &V)> {
        let first = key.and_then(|key| self.chunks.range(..=key).next_back());
        let from = first.map_or(Unbounded, |(bound, _)| Included(bound));
        let key = key.cloned();
        self.chunks
            .range::<K, _>((from, Unbounded))
            .flat_map(|(_, chunk)| chunk.iter())
            .map(|(key, value)| (key, value))
            .skip_while(move |(other, _)| key.as_ref().is_some_and(|key| *other <= key))
    }

    fn chunk_mut(&mut self, key: &K) -> Option<(&K, &mut Arc<Chunk<K, V>>)> {
        self.chunks.range_mut(..=key).next_back()
    }

    /// Lowers the first chunk's bound to the key, if it is above.
    fn lower_first_bound(&mut self, key: &K) {
        if self.chunks.first_key_value().is_some_and(|(bound, _)| key < bound)
            && let Some((_, chunk)) = self.chunks.pop_first()
        {
            self.chunks.insert(key.clone(), chunk);
        }
    }
}

fn position<K: Ord, V>(chunk: &Chunk<K, V>, key: &K) -> Result<usize, usize> {
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
                prop_assert_eq!(decoded, map);
            }
        }
    }
}
