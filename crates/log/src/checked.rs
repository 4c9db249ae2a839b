//! Which bytes of a segment were held against their CRCs.
//!
//! Key type: [`Checked`]. Disjoint ranges in order, a bounded number of them: forgetting one only means checking
//! its bytes again.

/// Ranges that are remembered.
const MAX_RANGES: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Checked {
    ranges: Vec<(u64, u64)>,
}

impl Checked {
    /// Whether all of `from..to` was checked.
    pub(crate) fn covers(&self, from: u64, to: u64) -> bool {
        let after = self.ranges.partition_point(|r| r.0 <= from);
        after.checked_sub(1).and_then(|at| self.ranges.get(at)).is_some_and(|r| r.1 >= to)
    }

    /// Remembers `from..to`.
    pub(crate) fn add(&mut self, mut from: u64, mut to: u64) {
        if from >= to {
            return;
        }
        self.ranges.retain(|&(start, end)| {
            let apart = end < from || start > to;
            if !apart {
                from = from.min(start);
                to = to.max(end);
            }
            apart
        });
        if self.ranges.len() == MAX_RANGES {
            let shortest = (0..MAX_RANGES).min_by_key(|&at| self.ranges[at].1 - self.ranges[at].0);
            self.ranges.remove(shortest.unwrap_or(0));
        }
        let at = self.ranges.partition_point(|r| r.0 < from);
        self.ranges.insert(at, (from, to));
    }

    /// Forgets all bytes from `from` on.
    pub(crate) fn cut(&mut self, from: u64) {
        self.ranges.retain_mut(|r| {
            r.1 = r.1.min(from);
            r.0 < r.1
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_join() {
        let mut checked = Checked::default();
        checked.add(10, 20);
        checked.add(30, 40);
        assert!(checked.covers(10, 20) && checked.covers(12, 13) && !checked.covers(15, 31));
        checked.add(20, 30);
        assert!(checked.covers(10, 40) && !checked.covers(9, 10) && !checked.covers(40, 41));
        checked.cut(15);
        assert!(checked.covers(10, 15) && !checked.covers(10, 16));
        for at in 0..200 {
            checked.add(at * 100, at * 100 + at + 1);
        }
        assert!(checked.ranges.len() <= MAX_RANGES && checked.covers(19_900, 20_000));
    }
}
