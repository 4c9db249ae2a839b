//! What is written can be read, for every message in every version.

use millstream_wire::testing::{CASES, Gen};
use proptest::prelude::*;

use crate::each;

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_message_in_every_version_comes_back(noise in proptest::collection::vec(any::<u8>(), 0..500)) {
        let mut failure = None;
        each(|case, version| {
            if let Err(error) = (case.round_trip)(&mut Gen::new(&noise), version) {
                failure.get_or_insert(format!("{} version {version}: {error}", case.name));
            }
        });
        prop_assert_eq!(failure, None);
    }
}

#[test]
fn the_smallest_message_of_every_version_comes_back() {
    each(|case, version| {
        (case.round_trip)(&mut Gen::new(&[]), version)
            .unwrap_or_else(|error| panic!("{} version {version}: {error}", case.name));
    });
}

#[test]
fn the_whole_table_is_there() {
    let count = |kind: &str| CASES.iter().filter(|case| case.kind == kind).count();
    // Kafka's, and what the nodes of a quorum say to each other.
    assert_eq!(count("request"), 91 + 1);
    assert_eq!(count("response"), 91 + 1);
    assert_eq!(count("header"), 2);
    assert_eq!(count("coordinator-key"), count("coordinator-value"));
    assert_eq!((count("coordinator-key"), count("metadata"), count("data")), (25, 27, 11));
}

#[test]
fn a_version_that_is_not_there_is_refused() {
    each(|case, _| {
        for version in [case.min - 1, case.max + 1, i16::MIN, i16::MAX] {
            assert!(
                (case.generate)(&mut Gen::new(&[]), version).is_err(),
                "{} {version}",
                case.name
            );
            let decoded = (case.decode)(vec![0; 200].into(), version);
            assert!(decoded.is_err(), "{} {version}", case.name);
        }
    });
}
