//! What most resources have one of: a sorted list, of which one that is short takes no more memory than what is in it.

use std::borrow::Borrow;

use minicbor::{Decode, Decoder, Encode, Encoder};

/// A map of few entries. (The smallest tree has room for eleven.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Few<K, V>(Vec<(K, V)>);

impl<K: Ord, V> Few<K, V> {
    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&(K, V)>
    where
        K: Borrow<Q>,
    {
        self.position(key).ok().map(|at| &self.0[at])
    }

    pub(crate) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.position(key).ok().map(|at| &mut self.0[at].1)
    }

    pub(crate) fn or_default(&mut self, key: &K) -> &mut V
    where
        K: Clone,
        V: Default,
    {
        let at = self.position(key).unwrap_or_else(|at| {
            self.0.reserve_exact(1);
            self.0.insert(at, (key.clone(), V::default()));
            at
        });
        &mut self.0[at].1
    }

    pub(crate) fn retain(&mut self, mut stays: impl FnMut(&K) -> bool) {
        self.0.retain(|(key, _)| stays(key));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.0.iter_mut().map(|(key, value)| (&*key, value))
    }

    fn position<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.0.binary_search_by(|(other, _)| other.borrow().cmp(key))
    }
}

impl<K, V> Default for Few<K, V> {
    fn default() -> Self {
        Few(Vec::new())
    }
}

/// As any map.
impl<C, K: Encode<C>, V: Encode<C>> Encode<C> for Few<K, V> {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.map(self.0.len() as u64)?;
        for (key, value) in &self.0 {
            key.encode(e, ctx)?;
            value.encode(e, ctx)?;
        }
        Ok(())
    }
}

impl<'b, C, K: Decode<'b, C> + Ord + Clone, V: Decode<'b, C> + Default> Decode<'b, C> for Few<K, V> {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let entries = d.map()?.ok_or_else(|| minicbor::decode::Error::message("a map without its length"))?;
        let mut few = Few::default();
        for _ in 0..entries {
            let key = K::decode(d, ctx)?;
            *few.or_default(&key) = V::decode(d, ctx)?;
        }
        Ok(few)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn entries_are_sorted_and_encoded_as_those_of_any_map() {
        let (mut few, mut model) = (Few::<String, u8>::default(), BTreeMap::new());
        for (key, value) in [("b", 1), ("", 2), ("c", 3), ("b", 4)] {
            *few.or_default(&key.to_string()) = value;
            model.insert(key.to_string(), value);
        }
        assert!(few.iter().eq(model.iter()));
        assert_eq!(few.get("c"), Some(&("c".to_string(), 3)));
        assert_eq!(few.get_mut("d"), None);
        let bytes = minicbor::to_vec(&few).unwrap();
        assert_eq!(bytes, minicbor::to_vec(&model).unwrap());
        assert_eq!(minicbor::decode::<Few<String, u8>>(&bytes).unwrap(), few);
        few.retain(|key| key != "b");
        assert!(few.iter_mut().map(|(key, _)| key.as_str()).eq(["", "c"]));
    }
}
