//! Where the replicas of new partitions go.
//!
//! Key function: [`place`]. Partitions walk round the brokers, so leaders and followers spread evenly; where
//! brokers name racks, the walk alternates between racks, so that the replicas of one partition lie in as many
//! racks as there are. A fenced broker is passed over as long as enough others are there, and never leads. The
//! seed picks the place at which the walk starts: the same seed and brokers give the same placement.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_base::NodeId;

/// A broker on which replicas may be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The broker.
    pub id: NodeId,
    /// Its rack; brokers without one count as one rack of their own.
    pub rack: Option<Arc<str>>,
    /// Whether the broker is fenced: it may follow where nobody else is left, it may not lead.
    pub fenced: bool,
}

/// Why replicas cannot be placed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// More replicas are asked for than there are brokers.
    #[error(
        "replication factor {wanted} needs {wanted} brokers, but only {registered} are registered"
    )]
    TooFewBrokers {
        /// The replication factor asked for.
        wanted: usize,
        /// How many brokers are registered.
        registered: usize,
    },
    /// No broker may lead.
    #[error("all brokers are fenced at present")]
    AllFenced,
    /// A replication factor of zero.
    #[error("the replication factor must be at least 1")]
    NoReplicas,
}

/// The replicas of `count` partitions from number `first` on, the preferred leader first.
///
/// `seed` and `first` only shift the start of the walk, so that topics do not all start at the same broker and
/// added partitions go on where the earlier ones ended.
pub fn place(
    brokers: &[Candidate],
    seed: u64,
    first: usize,
    count: usize,
    replication_factor: usize,
) -> Result<Vec<Vec<NodeId>>, PlaceError> {
    if replication_factor == 0 {
        return Err(PlaceError::NoReplicas);
    }
    if replication_factor > brokers.len() {
        let (wanted, registered) = (replication_factor, brokers.len());
        return Err(PlaceError::TooFewBrokers { wanted, registered });
    }
    let live = interleave_racks(brokers.iter().filter(|b| !b.fenced));
    let fenced = interleave_racks(brokers.iter().filter(|b| b.fenced));
    if live.is_empty() {
        return Err(PlaceError::AllFenced);
    }
    let start = usize::try_from(seed % (1 << 31)).unwrap_or(0);
    let partition = |n: usize| walk(&live, &fenced, start.wrapping_add(n), replication_factor);
    Ok((first..first.saturating_add(count)).map(partition).collect())
}

/// The replicas of one partition: `wanted` brokers, the live ones before the fenced ones.
///
/// After every full round of leaders the followers are shifted by one more place, so that the load of a lost
/// leader spreads over all others instead of falling on its neighbour.
fn walk(live: &[NodeId], fenced: &[NodeId], step: usize, wanted: usize) -> Vec<NodeId> {
    let count = live.len();
    let lead = step % count;
    let mut replicas: Vec<NodeId> = live.get(lead).copied().into_iter().collect();
    let others: Vec<NodeId> = live.iter().cycle().skip(lead + 1).take(count - 1).copied().collect();
    let shift = if others.is_empty() { 0 } else { (step / count) % others.len() };
    replicas.extend(others.iter().cycle().skip(shift).take(others.len().min(wanted - 1)));
    let missing = wanted - replicas.len();
    if missing > 0 {
        replicas.extend(fenced.iter().cycle().skip(step % fenced.len().max(1)).take(missing));
    }
    replicas
}

/// The brokers in an order in which neighbours lie in different racks as far as that goes.
fn interleave_racks<'a>(brokers: impl Iterator<Item = &'a Candidate>) -> Vec<NodeId> {
    let mut racks: BTreeMap<Option<&str>, Vec<NodeId>> = BTreeMap::new();
    for broker in brokers {
        racks.entry(broker.rack.as_deref()).or_default().push(broker.id);
    }
    let mut racks: Vec<Vec<NodeId>> = racks.into_values().collect();
    for rack in &mut racks {
        rack.sort_unstable();
    }
    let deepest = racks.iter().map(Vec::len).max().unwrap_or(0);
    (0..deepest)
        .flat_map(|row| racks.iter().filter_map(move |rack| rack.get(row).copied()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn broker(id: i32, rack: &str, fenced: bool) -> Candidate {
        Candidate { id: NodeId(id), rack: (!rack.is_empty()).then(|| rack.into()), fenced }
    }

    fn check(brokers: &[Candidate], first: usize, count: usize, rf: usize, expected: &str) {
        let found = match place(brokers, 0, first, count, rf) {
            Ok(rows) => rows
                .iter()
                .map(|r| r.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
                .collect::<Vec<_>>()
                .join(" "),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn round_robin_and_refusals() {
        let one = [broker(1, "", false)];
        let three = [broker(1, "", false), broker(2, "", false), broker(3, "", false)];
        check(&one, 0, 3, 1, "1 1 1");
        check(&three, 0, 6, 2, "1,2 2,3 3,1 1,3 2,1 3,2");
        check(&three, 2, 2, 1, "3 1");
        check(&one, 0, 1, 3, "replication factor 3 needs 3 brokers, but only 1 are registered");
        check(&[broker(1, "", true)], 0, 1, 1, "all brokers are fenced at present");
        check(&one, 0, 1, 0, "the replication factor must be at least 1");
    }

    #[test]
    fn racks_alternate() {
        let racks = [
            broker(1, "a", false),
            broker(2, "a", false),
            broker(3, "b", false),
            broker(4, "b", false),
        ];
        check(&racks, 0, 4, 2, "1,3 3,2 2,4 4,1");
    }

    #[test]
    fn a_fenced_broker_follows_only_where_it_must() {
        let mixed = [broker(1, "", false), broker(2, "", true), broker(3, "", false)];
        check(&mixed, 0, 2, 2, "1,3 3,1");
        check(&mixed, 0, 2, 3, "1,3,2 3,1,2");
    }

    proptest! {
        #[test]
        fn replicas_are_distinct_and_leaders_live_and_even(
            shape in proptest::collection::vec((0u8..4, any::<bool>()), 1..12),
            seed in any::<u64>(), count in 1usize..60, rf in 1usize..6,
        ) {
            let brokers: Vec<_> = shape
                .iter()
                .zip(0..)
                .map(|((rack, fenced), id)| broker(id, &"r".repeat(usize::from(*rack)), *fenced))
                .collect();
            let live = brokers.iter().filter(|b| !b.fenced).count();
            let Ok(rows) = place(&brokers, seed, 0, count, rf) else {
                prop_assert!(live == 0 || rf > brokers.len());
                return Ok(());
            };
            let mut leaders = BTreeMap::new();
            for row in &rows {
                prop_assert_eq!(row.len(), rf);
                prop_assert_eq!(row.iter().collect::<BTreeSet<_>>().len(), rf);
                let fenced = |id: &NodeId| brokers.iter().any(|b| b.id == *id && b.fenced);
                prop_assert!(!fenced(&row[0]));
                prop_assert_eq!(row.iter().filter(|id| !fenced(id)).count(), rf.min(live));
                *leaders.entry(row[0]).or_insert(0usize) += 1;
            }
            let (most, least) = (leaders.values().max().unwrap(), count / live);
            prop_assert!(*most <= least + 1);
        }
    }
}
