//! Counters by scope value, of which most limits have one.

use minicbor::{Decode, Decoder, Encode, Encoder};

use super::{CowMap, Shared};

/// A [`CowMap`] that keeps the entry of the default key apart: a limit of the whole resource has no other, and to look for it in
/// a chunk would be to wait for memory twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ByValue<K: Ord + Clone + Default, V: Clone> {
    whole: Option<Shared<(K, V)>>,
    others: CowMap<K, V>,
}

impl<K: Ord + Clone + Default, V: Clone> ByValue<K, V> {
    pub(crate) fn len(&self) -> usize {
        usize::from(self.whole.is_some()) + self.others.len()
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        match &self.whole {
            Some(whole) if is_whole(key) => Some(&whole.1),
            _ => self.others.get(key),
        }
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        match &mut self.whole {
            Some(whole) if is_whole(key) => Some(&mut whole.1),
            _ => self.others.get_mut(key),
        }
    }

    pub(crate) fn get_or_insert(&mut self, key: &K, fresh: impl FnOnce() -> V) -> &mut V {
        if is_whole(key) {
            return &mut self.whole.get_or_insert_with(|| Shared::new((key.clone(), fresh()))).1;
        }
        if !self.others.contains_key(key) {
            self.others.insert(key.clone(), fresh());
        }
        self.others.get_mut(key).expect("it was there, or was inserted just now")
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        match is_whole(&key) {
            true => self.whole = Some(Shared::new((key, value))),
            false => {
                self.others.insert(key, value);
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &K) {
        match is_whole(key) {
            true => self.whole = None,
            false => {
                self.others.remove(key);
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.whole().chain(self.others.iter())
    }

    /// The entries whose key is greater than `key`. The default is the least.
    pub(crate) fn iter_after(&self, key: &K) -> impl Iterator<Item = (&K, &V)> {
        self.others.iter_after(Some(key))
    }

    fn whole(&self) -> impl Iterator<Item = (&K, &V)> {
        self.whole.iter().map(|whole| (&whole.0, &whole.1))
    }
}

fn is_whole<K: Default + PartialEq>(key: &K) -> bool {
    *key == K::default()
}

impl<K: Ord + Clone + Default, V: Clone> Default for ByValue<K, V> {
    fn default() -> Self {
        ByValue { whole: None, others: CowMap::new() }
    }
}

impl<K: Ord + Clone + Default, V: Clone> FromIterator<(K, V)> for ByValue<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut values = ByValue::default();
        for (key, value) in entries {
            values.insert(key, value);
        }
        values
    }
}

/// As any map.
impl<C, K: Encode<C> + Ord + Clone + Default, V: Encode<C> + Clone> Encode<C> for ByValue<K, V> {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.map(self.len() as u64)?;
        for (key, value) in self.iter() {
            key.encode(e, ctx)?;
            value.encode(e, ctx)?;
        }
        Ok(())
    }
}

impl<'b, C, K, V> Decode<'b, C> for ByValue<K, V>
where
    K: Decode<'b, C> + Ord + Clone + Default,
    V: Decode<'b, C> + Clone,
{
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
        #[test]
        fn behaves_as_a_b_tree_map_and_copies_do_not_notice_changes(
            changes in prop::collection::vec((0u16..4, any::<bool>()), 0..30),
        ) {
            let (mut values, mut model) = (ByValue::default(), BTreeMap::new());
            for (step, (key, insert)) in changes.into_iter().enumerate() {
                let before = (values.clone(), model.clone());
                match insert {
                    true => prop_assert_eq!(values.get_or_insert(&key, || step), model.entry(key).or_insert(step)),
                    false => {
                        values.remove(&key);
                        model.remove(&key);
                    }
                }
                if let (Some(value), Some(expected)) = (values.get_mut(&key), model.get_mut(&key)) {
                    (*value, *expected) = (step, step);
                }
                for (values, model) in [before, (values.clone(), model.clone())] {
                    prop_assert_eq!((values.len(), values.get(&key)), (model.len(), model.get(&key)));
                    prop_assert!(values.iter().eq(model.iter()));
                    prop_assert!(values.iter_after(&1).eq(model.range(2..)));
                    let bytes = minicbor::to_vec(&values).unwrap();
                    prop_assert_eq!(&bytes, &minicbor::to_vec(&model).unwrap());
                    prop_assert_eq!(minicbor::decode::<ByValue<u16, usize>>(&bytes).unwrap(), values);
                }
            }
        }
    }
}
