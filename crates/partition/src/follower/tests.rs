//! Where a follower cuts and from where it fetches.

use super::*;

fn cache(entries: &[(i32, i64)]) -> EpochCache {
    let mut cache = EpochCache::new();
    for &(epoch, start) in entries {
        cache.assign(LeaderEpoch(epoch), Offset(start));
    }
    cache
}

fn follower(end: i64, high_watermark: i64) -> FollowerState {
    let log =
        LogPosition { start: Offset(0), end: Offset(end), high_watermark: Offset(high_watermark) };
    FollowerState::new(NodeId(2), LeaderEpoch(9), log)
}

/// Fetches and cuts until the leader finds no difference; where that ends.
fn settle(leader: &[(i32, i64)], leader_end: i64, own: &[(i32, i64)], end: i64) -> i64 {
    let (leader, mut own) = (cache(leader), cache(own));
    let mut state = follower(end, 0);
    for _ in 0..20 {
        let asked = state.next_fetch(&own);
        let found = diverging_epoch(&leader, Offset(leader_end), asked.offset, asked.last_epoch);
        let repair = match found {
            Ok(None) => return state.position().end.get(),
            Ok(Some(diverging)) => state.on_diverging(diverging, &own),
            Err(_) => state.on_out_of_range(Offset(0), Offset(leader_end)),
        };
        let to = match repair {
            Repair::None => return state.position().end.get(),
            Repair::TruncateTo(to) | Repair::StartAt(to) => to,
        };
        assert!(to < state.position().end, "each cut gets on");
        own.truncate_from_end(to);
        state.on_truncated(Offset(0).min(to), to);
    }
    panic!("no end");
}

#[test]
fn a_log_is_cut_where_the_epochs_part() {
    // A prefix is left alone, whatever the high watermark.
    assert_eq!(settle(&[(1, 0), (3, 10)], 20, &[(1, 0), (3, 10)], 15), 15);
    // Own records of an epoch that ended earlier at the leader.
    assert_eq!(settle(&[(1, 0), (3, 10)], 20, &[(1, 0)], 14), 10);
    // Epochs that the leader never had, one after the other.
    assert_eq!(settle(&[(1, 0), (6, 10)], 20, &[(1, 0), (2, 8), (4, 12), (5, 16)], 18), 8);
    // The leader has the epoch, but less of it.
    assert_eq!(settle(&[(1, 0)], 12, &[(1, 0)], 15), 12);
    // Nothing in common at all.
    assert_eq!(settle(&[(7, 0)], 12, &[(3, 0)], 5), 0);
    assert_eq!(settle(&[], 0, &[(3, 0)], 5), 0);
}

#[test]
fn what_a_fetch_brings_moves_high_watermark_and_start_within_the_log() {
    let mut state = follower(10, 4);
    let moved = state.on_fetched(Offset(12), Offset(20), Offset(3));
    assert_eq!(moved.high_watermark, Some(Offset(12)));
    assert_eq!(moved.log_start, Some(Offset(3)));
    // A new leader's watermark may lag; a start is followed to the high watermark only.
    let moved = state.on_fetched(Offset(14), Offset(6), Offset(13));
    assert_eq!((moved.high_watermark, moved.log_start), (None, Some(Offset(12))));
    state.on_truncated(Offset(12), Offset(12));
    assert_eq!(state.high_watermark(), Offset(12));
}

#[test]
fn out_of_range_starts_where_the_leader_does() {
    let state = follower(10, 4);
    assert_eq!(state.on_out_of_range(Offset(50), Offset(80)), Repair::StartAt(Offset(50)));
    assert_eq!(state.on_out_of_range(Offset(5), Offset(80)), Repair::None);
    assert_eq!(state.on_out_of_range(Offset(2), Offset(7)), Repair::TruncateTo(Offset(7)));
    assert_eq!(state.on_out_of_range(Offset(0), Offset(0)), Repair::StartAt(Offset(0)));
}
