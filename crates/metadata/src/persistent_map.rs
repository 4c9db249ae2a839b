//! An ordered map that is cheap to clone and cheap to change after a clone.
//!
//! Key type: [`PersistentMap`]. It is a sorted list of chunks, each a sorted list of entries, both behind an
//! `Arc`: a clone copies one pointer, and the first change after it copies the list of chunks and one chunk,
//! never the whole map. Further changes before the next clone happen in place. That is what lets one image of
//! the cluster be published after every commit while readers keep the older ones.
//!
//! Invariants: no chunk is empty; keys ascend strictly within and across chunks; a chunk holds at most
//! [`CHUNK_MAX`] entries.

use std::borrow::Borrow;
use std::ops::{Bound, RangeBounds as _};
use std::sync::Arc;

/// The most entries that one chunk holds. A change copies at most one chunk, so this bounds its cost.
const CHUNK_MAX: usize = 64;

type Chunk<K, V> = Vec<(K, V)>;

/// An ordered map with structural sharing between its clones.
#[derive(Debug)]
pub struct PersistentMap<K, V> {
    chunks: Arc<Vec<Arc<Chunk<K, V>>>>,
    len: usize,
}

impl<K, V> Clone for PersistentMap<K, V> {
    fn clone(&self) -> Self {
        Self { chunks: Arc::clone(&self.chunks), len: self.len }
    }
}

impl<K, V> Default for PersistentMap<K, V> {
    fn default() -> Self {
        Self { chunks: Arc::new(Vec::new()), len: 0 }
    }
}

impl<K: Ord + Clone, V: Clone> PersistentMap<K, V> {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of `key`.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let at = chunk.binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
        chunk.get(at).map(|(_, v)| v)
    }

    /// Whether `key` has a value.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// The value of `key`, to be changed in this clone alone.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let index = self.chunk_of(key);
        let at = self.chunks.get(index)?.binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
        let chunk = Arc::make_mut(&mut self.chunks).get_mut(index)?;
        Arc::make_mut(chunk).get_mut(at).map(|(_, v)| v)
    }

    /// Sets the value of `key` and returns the one before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let index = self.chunk_of(&key);
        let chunks = Arc::make_mut(&mut self.chunks);
        let last = index + 1 == chunks.len();
        let Some(shared) = chunks.get_mut(index) else {
            chunks.push(Arc::new(vec![(key, value)]));
            self.len += 1;
            return None;
        };
        match shared.binary_search_by(|(k, _)| k.cmp(&key)) {
            Ok(at) => {
                let entry = Arc::make_mut(shared).get_mut(at)?;
                Some(std::mem::replace(&mut entry.1, value))
            }
            // Ascending inserts fill chunks whole instead of leaving each half empty.
            Err(at) if last && at >= CHUNK_MAX => {
                chunks.push(Arc::new(vec![(key, value)]));
                self.len += 1;
                None
            }
            Err(at) => {
                let chunk = Arc::make_mut(shared);
                chunk.insert(at, (key, value));
                if chunk.len() > CHUNK_MAX {
                    let upper = chunk.split_off(CHUNK_MAX / 2);
                    chunks.insert(index + 1, Arc::new(upper));
                }
                self.len += 1;
                None
            }
        }
    }

    /// Takes out `key` and returns its value.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let index = self.chunk_of(key);
        let at = self.chunks.get(index)?.binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let chunk = Arc::make_mut(chunks.get_mut(index)?);
        let (_, value) = chunk.remove(at);
        if chunk.is_empty() {
            chunks.remove(index);
        } else {
            merge_small(chunks, index);
        }
        self.len -= 1;
        Some(value)
    }

    /// All entries in the order of their keys.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().map(|(k, v)| (k, v)))
    }

    /// All keys in their order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.iter().map(|(k, _)| k)
    }

    /// All values in the order of their keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.iter().map(|(_, v)| v)
    }

    /// The entries from `start` on, in the order of their keys.
    pub fn range_from<'a, Q: Ord + ?Sized>(
        &'a self,
        start: Bound<&'a Q>,
    ) -> impl Iterator<Item = (&'a K, &'a V)>
    where
        K: Borrow<Q>,
    {
        let first = match start {
            Bound::Included(key) | Bound::Excluded(key) => self.chunk_of(key),
            Bound::Unbounded => 0,
        };
        let range = (start, Bound::Unbounded);
        self.chunks
            .iter()
            .skip(first)
            .flat_map(|chunk| chunk.iter().map(|(k, v)| (k, v)))
            .skip_while(move |(k, _)| !range.contains((*k).borrow()))
    }

    /// The chunk in which `key` lies or would lie: the last one that starts at or before it.
    fn chunk_of<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        let after =
            self.chunks.partition_point(|c| c.first().is_some_and(|(k, _)| k.borrow() <= key));
        after.saturating_sub(1)
    }
}

/// Joins a chunk with the one after it once both are small, so that many removals do not leave a long list of
/// tiny chunks.
fn merge_small<K: Clone, V: Clone>(chunks: &mut Vec<Arc<Chunk<K, V>>>, index: usize) {
    let size = |at: usize| chunks.get(at).map_or(CHUNK_MAX, |c| c.len());
    if size(index) + size(index + 1) > CHUNK_MAX / 2 {
        return;
    }
    let next = chunks.remove(index + 1);
    if let Some(chunk) = chunks.get_mut(index) {
        Arc::make_mut(chunk).extend(next.iter().cloned());
    }
}

impl<K: Ord + Clone, V: Clone + PartialEq> PartialEq for PersistentMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len
            && (Arc::ptr_eq(&self.chunks, &other.chunks) || self.iter().eq(other.iter()))
    }
}

impl<K: Ord + Clone, V: Clone> FromIterator<(K, V)> for PersistentMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn check_shape(map: &PersistentMap<u16, u32>) {
        let mut before = None;
        for chunk in map.chunks.iter() {
            assert!(!chunk.is_empty() && chunk.len() <= CHUNK_MAX);
            for (key, _) in chunk.iter() {
                assert!(before < Some(*key));
                before = Some(*key);
            }
        }
        assert_eq!(map.iter().count(), map.len());
    }

    proptest! {
        #[test]
        fn behaves_as_a_btree_map_and_clones_stay_as_they_were(
            steps in proptest::collection::vec((0u16..400, proptest::option::weighted(0.6, any::<u32>())), 0..600),
            start in 0u16..400,
        ) {
            let mut map = PersistentMap::new();
            let mut model = BTreeMap::new();
            let mut older = Vec::new();
            for (count, (key, value)) in steps.into_iter().enumerate() {
                if count % 97 == 0 {
                    older.push((map.clone(), model.clone()));
                }
                match value {
                    Some(value) => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                    None => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                }
                if let Some(value) = map.get_mut(&key) {
                    *value ^= 1;
                    *model.get_mut(&key).unwrap() ^= 1;
                }
            }
            older.push((map, model));
            for (map, model) in older {
                check_shape(&map);
                prop_assert!(map.iter().eq(model.iter()));
                let from = (Bound::Included(start), Bound::Unbounded);
                prop_assert!(map.range_from(Bound::Included(&start)).eq(model.range(from)));
                let after = (Bound::Excluded(start), Bound::Unbounded);
                prop_assert!(map.range_from(Bound::Excluded(&start)).eq(model.range(after)));
                for key in 0..400 {
                    prop_assert_eq!(map.get(&key), model.get(&key));
                }
            }
        }
    }

    #[test]
    fn ascending_inserts_fill_their_chunks() {
        let map: PersistentMap<u16, u32> = (0..6400).map(|k| (k, 0)).collect();
        assert_eq!(map.chunks.len(), 100);
    }
}
