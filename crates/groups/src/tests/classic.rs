//! Scripts of classic groups: what members and administrators see, in order.

use super::lab::{check, check_with};
use crate::GroupConfig;

#[test]
fn two_members_share_and_the_first_waits_for_the_second() {
    check(
        "
        join a v=3
        tick 2000
        join b v=3
        tick 1000
        tick 3000
        < a joined gen=1 id=a#1 leader=a#1 by=range all=a#1,b#2
        < b joined gen=1 id=b#2 leader=a#1 by=range
        sync b
        sync a a:x b:y
        < a synced [x]
        < b synced [y]
        sync b
        < b synced [y]
        beat a
        < a alive
        beat b
        < b alive
        show
        < Stable gen=1 by=range a#1[x] b#2[y]
        restart
        show
        < Stable gen=1 by=range a#1[x] b#2[y]
        beat a
        < a alive
        ",
    );
}

#[test]
fn a_third_member_makes_the_others_rejoin() {
    check(
        "
        join a v=3
        tick 3000
        < a joined gen=1 id=a#1 leader=a#1 by=range all=a#1
        sync a a:all
        < a synced [all]
        join c v=3
        beat a
        < a beat REBALANCE_IN_PROGRESS
        sync a
        < a sync REBALANCE_IN_PROGRESS
        join a
        < a joined gen=2 id=a#1 leader=a#1 by=range all=a#1,c#2
        < c joined gen=2 id=c#2 leader=a#1 by=range
        sync c
        sync a a:x c:y
        < a synced [x]
        < c synced [y]
        show
        < Stable gen=2 by=range a#1[x] c#2[y]
        ",
    );
}

#[test]
fn who_does_not_rejoin_in_time_is_out() {
    check(
        "
        join a v=3 rebalance=20000 session=30000
        join b v=3 rebalance=20000 session=30000
        tick 3000
        tick 3000
        < a joined gen=1 id=a#1 leader=a#1 by=range all=a#1,b#2
        < b joined gen=1 id=b#2 leader=a#1 by=range
        sync a a:x b:y
        < a synced [x]
        sync b
        < b synced [y]
        join c v=3 rebalance=20000 session=30000
        join a rebalance=20000 session=30000
        tick 19000
        tick 1000
        < a joined gen=2 id=a#1 leader=a#1 by=range all=a#1,c#3
        < c joined gen=2 id=c#3 leader=a#1 by=range
        beat b
        < b beat UNKNOWN_MEMBER_ID
        sync a a:x c:y
        < a synced [x]
        sync c
        < c synced [y]
        show
        < Stable gen=2 by=range a#1[x] c#3[y]
        ",
    );
}

#[test]
fn a_member_that_falls_silent_is_removed_and_the_rest_rebalances() {
    check(
        "
        join a v=3
        join b v=3
        tick 6000
        < a joined gen=1 id=a#1 leader=a#1 by=range all=a#1,b#2
        < b joined gen=1 id=b#2 leader=a#1 by=range
        sync a a:x b:y
        < a synced [x]
        sync b
        < b synced [y]
        tick 6000
        beat a
        < a alive
        tick 4001
        beat a
        < a beat REBALANCE_IN_PROGRESS
        beat b
        < b beat UNKNOWN_MEMBER_ID
        join a
        < a joined gen=2 id=a#1 leader=a#1 by=range all=a#1
        sync a a:all
        < a synced [all]
        tick 10001
        show
        < Empty gen=3
        ",
    );
}

#[test]
fn a_member_that_joins_and_never_syncs_is_removed() {
    check(
        "
        join a v=3 rebalance=7000 session=30000
        join b v=3 rebalance=7000 session=30000
        tick 6000
        < a joined gen=1 id=a#1 leader=a#1 by=range all=a#1,b#2
        < b joined gen=1 id=b#2 leader=a#1 by=range
        sync a a:x b:y
        < a synced [x]
        tick 7000
        beat a
        < a beat REBALANCE_IN_PROGRESS
        beat b
        < b beat UNKNOWN_MEMBER_ID
        join a
        < a joined gen=2 id=a#1 leader=a#1 by=range all=a#1
        show
        < CompletingRebalance gen=2 a#1[]
        ",
    );
}

#[test]
fn a_leader_that_never_syncs_is_removed() {
    check(
        "
        join a v=3 rebalance=7000 session=30000
        join b v=3 rebalance=7000 session=30000
        tick 6000
        < a joined gen=1 id=a#1 leader=a#1 by=range all=a#1,b#2
        < b joined gen=1 id=b#2 leader=a#1 by=range
        sync b
        tick 7000
        < b sync REBALANCE_IN_PROGRESS
        join b rebalance=7000 session=30000
        < b joined gen=2 id=b#2 leader=b#2 by=range all=b#2
        sync b b:all
        < b synced [all]
        show
        < Stable gen=2 by=range b#2[all]
        ",
    );
}

#[test]
fn a_pending_member_holds_up_a_rebalance_only_for_its_session() {
    check(
        "
        join a v=3 session=30000
        tick 3000
        < a joined gen=1 id=a#1 leader=a#1 by=range all=a#1
        sync a a:x
        < a synced [x]
        join b session=6000
        < b join MEMBER_ID_REQUIRED id=b#2
        join a v=3
        tick 5999
        tick 1
        < a joined gen=2 id=a#1 leader=a#1 by=range all=a#1
        ",
    );
}

#[test]
fn members_leave_one_by_one_and_together() {
    check(
        "
        join a v=3
        join b v=3
        join c v=3
        tick 6000
        < a joined gen=1 id=a#1 leader=a#1 by=range all=a#1,b#2,c#3
        < b joined gen=1 id=b#2 leader=a#1 by=range
        < c joined gen=1 id=c#3 leader=a#1 by=range
        sync a a:x b:y c:z
        < a synced [x]
        leave nobody c
        < leave Ok([UnknownMemberId, None])
        beat a
        < a beat REBALANCE_IN_PROGRESS
        join a
        join b
        < a joined gen=2 id=a#1 leader=a#1 by=range all=a#1,b#2
        < b joined gen=2 id=b#2 leader=a#1 by=range
        sync a a:x b:y
        < a synced [x]
        leave a b
        < leave Ok([None, None])
        show
        < Empty gen=3
        list
        < g consumer Empty classic
        restart
        show
        < Empty gen=3
        beat a
        < a beat UNKNOWN_MEMBER_ID
        ",
    );
}

#[test]
fn a_pending_member_can_leave() {
    check(
        "
        join a
        < a join MEMBER_ID_REQUIRED id=a#1
        leave a
        < leave Ok([None])
        join a
        < a join UNKNOWN_MEMBER_ID id=a#1
        ",
    );
}

#[test]
fn votes_decide_between_protocols_that_all_support() {
    check(
        "
        join a v=3 by=range,sticky
        join b v=3 by=sticky,range
        join c v=3 by=roundrobin,sticky,range
        tick 9000
        < a joined gen=1 id=a#1 leader=a#1 by=sticky all=a#1,b#2,c#3
        < b joined gen=1 id=b#2 leader=a#1 by=sticky
        < c joined gen=1 id=c#3 leader=a#1 by=sticky
        sync a
        < a synced []
        join d v=3 by=roundrobin
        < d join INCONSISTENT_GROUP_PROTOCOL id=
        join d v=3 by=range type=connect
        < d join INCONSISTENT_GROUP_PROTOCOL id=
        join d v=3 by=
        < d join INCONSISTENT_GROUP_PROTOCOL id=
        join d v=3 type=
        < d join INCONSISTENT_GROUP_PROTOCOL id=
        ",
    );
}

#[test]
fn a_join_with_nothing_new_gets_the_current_generation() {
    check(
        "
        join a v=3
        join b v=3
        tick 6000
        < a joined gen=1 id=a#1 leader=a#1 by=range all=a#1,b#2
        < b joined gen=1 id=b#2 leader=a#1 by=range
        join b
        < b joined gen=1 id=b#2 leader=a#1 by=range
        join a
        < a joined gen=1 id=a#1 leader=a#1 by=range all=a#1,b#2
        sync a a:x b:y
        < a synced [x]
        join b
        < b joined gen=1 id=b#2 leader=a#1 by=range
        sync b
        < b synced [y]
        show
        < Stable gen=1 by=range a#1[x] b#2[y]
        join a
        show
        < PreparingRebalance gen=1 a#1[] b#2[]
        ",
    );
}

#[test]
fn new_metadata_of_a_follower_makes_a_rebalance() {
    check(
        "
        join a v=3
        join b v=3
        tick 6000
        < a joined gen=1 id=a#1 leader=a#1 by=range all=a#1,b#2
        < b joined gen=1 id=b#2 leader=a#1 by=range
        sync a a:x b:y
        < a synced [x]
        join b topics=t,u
        beat a
        < a beat REBALANCE_IN_PROGRESS
        join a
        < a joined gen=2 id=a#1 leader=a#1 by=range all=a#1,b#2
        < b joined gen=2 id=b#2 leader=a#1 by=range
        ",
    );
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    check(
        "
        join a static=one
        join b static=two
        tick 6000
        < a joined gen=1 id=one#1 leader=one#1 by=range all=one#1,two#2
        < b joined gen=1 id=two#2 leader=one#1 by=range
        sync a a:x b:y
        < a synced [x]
        sync b
        < b synced [y]
        forget b
        join b static=two
        < b joined gen=1 id=two#3 leader=one#1 by=range
        sync b
        < b synced [y]
        beat b static=two
        < b alive
        show
        < Stable gen=1 by=range one#1[x] two#3[y]
        restart
        show
        < Stable gen=1 by=range one#1[x] two#3[y]
        beat b static=two
        < b alive
        ",
    );
}

#[test]
fn a_static_leader_comes_back_and_skips_the_assignment() {
    check(
        "
        join a static=one
        join b static=two
        tick 6000
        < a joined gen=1 id=one#1 leader=one#1 by=range all=one#1,two#2
        < b joined gen=1 id=two#2 leader=one#1 by=range
        sync a a:x b:y
        < a synced [x]
        sync b
        < b synced [y]
        forget a
        join a static=one
        < a joined gen=1 id=one#3 leader=one#3 by=range all=one#3,two#2 skip
        sync a
        < a synced [x]
        forget a
        join a static=one v=8
        < a joined gen=1 id=one#4 leader=one#3 by=range
        sync a
        < a synced [x]
        show
        < Stable gen=1 by=range one#4[x] two#2[y]
        ",
    );
}

#[test]
fn the_old_self_of_a_static_member_is_fenced() {
    check(
        "
        join a static=one
        tick 3000
        < a joined gen=1 id=one#1 leader=one#1 by=range all=one#1
        sync a a:x
        < a synced [x]
        beat a static=one
        < a alive
        forget a2
        join a2 static=one
        < a2 joined gen=1 id=one#2 leader=one#2 by=range all=one#2 skip
        beat a static=one
        < a beat FENCED_INSTANCE_ID
        beat a static=none-such
        < a beat UNKNOWN_MEMBER_ID
        join a static=one
        < a join FENCED_INSTANCE_ID id=one#1
        sync a static=one
        < a sync FENCED_INSTANCE_ID
        leave static=one
        < leave Ok([None])
        leave static=one
        < leave Ok([UnknownMemberId])
        show
        < Empty gen=2
        ",
    );
}

#[test]
fn a_static_member_back_with_another_protocol_makes_a_rebalance() {
    check(
        "
        join a static=one by=range,sticky
        tick 3000
        < a joined gen=1 id=one#1 leader=one#1 by=range all=one#1
        sync a a:x
        < a synced [x]
        forget a
        join a static=one by=sticky
        < a joined gen=2 id=one#2 leader=one#2 by=sticky all=one#2
        sync a a:y
        < a synced [y]
        show
        < Stable gen=2 by=sticky one#2[y]
        ",
    );
}

#[test]
fn a_static_member_that_is_away_is_not_removed_by_a_rebalance() {
    check(
        "
        join a static=one session=30000 rebalance=10000
        join b session=30000 rebalance=10000 v=3
        tick 6000
        < b joined gen=1 id=b#2 leader=one#1 by=range
        < a joined gen=1 id=one#1 leader=one#1 by=range all=b#2,one#1
        sync a a:x b:y
        < a synced [x]
        join b session=30000 rebalance=10000 topics=t,u
        tick 10000
        < b joined gen=2 id=b#2 leader=b#2 by=range all=b#2,one#1
        show
        < CompletingRebalance gen=2 b#2[] one#1[]
        sync b a:x b:y
        < b synced [y]
        show
        < Stable gen=2 by=range b#2[y] one#1[x]
        tick 30001
        ",
    );
}

#[test]
fn a_static_parked_join_is_fenced_by_its_successor() {
    check(
        "
        join a static=one
        join a2 static=one
        < a join FENCED_INSTANCE_ID id=one#1
        tick 3000
        < a2 joined gen=1 id=one#2 leader=one#2 by=range all=one#2
        tick 3000
        ",
    );
}

#[test]
fn a_group_takes_only_so_many() {
    let config = GroupConfig { max_size: 2, ..GroupConfig::default() };
    check_with(
        config,
        "
        join a v=3
        join b v=3
        join c v=3
        < c join GROUP_MAX_SIZE_REACHED id=
        tick 6000
        < a joined gen=1 id=a#1 leader=a#1 by=range all=a#1,b#2
        < b joined gen=1 id=b#2 leader=a#1 by=range
        sync a a:x b:y
        < a synced [x]
        join c v=3
        < c join GROUP_MAX_SIZE_REACHED id=
        show
        < Stable gen=1 by=range a#1[x] b#2[y]
        ",
    );
}

#[test]
fn a_refused_assignment_is_told_to_all_and_rebalances() {
    check(
        "
        join a v=3
        join b v=3
        tick 6000
        < a joined gen=1 id=a#1 leader=a#1 by=range all=a#1,b#2
        < b joined gen=1 id=b#2 leader=a#1 by=range
        sync b
        fail 19
        sync a a:x b:y
        < a sync COORDINATOR_NOT_AVAILABLE
        < b sync COORDINATOR_NOT_AVAILABLE
        < append failed: COORDINATOR_NOT_AVAILABLE
        show
        < PreparingRebalance gen=1 a#1[] b#2[]
        join a
        join b
        < a joined gen=2 id=a#1 leader=a#1 by=range all=a#1,b#2
        < b joined gen=2 id=b#2 leader=a#1 by=range
        sync a a:x b:y
        < a synced [x]
        sync b
        < b synced [y]
        show
        < Stable gen=2 by=range a#1[x] b#2[y]
        ",
    );
}

#[test]
fn a_refused_new_group_leaves_nothing() {
    check(
        "
        fail 6
        join a v=3
        < a join NOT_COORDINATOR id=a#1
        < append failed: NOT_COORDINATOR
        list
        join a v=3
        tick 3000
        < a joined gen=1 id=a#2 leader=a#2 by=range all=a#2
        ",
    );
}

#[test]
fn a_refused_static_return_puts_the_old_id_back() {
    check(
        "
        join a static=one
        join b static=two
        tick 6000
        < a joined gen=1 id=one#1 leader=one#1 by=range all=one#1,two#2
        < b joined gen=1 id=two#2 leader=one#1 by=range
        sync a a:x b:y
        < a synced [x]
        sync b
        < b synced [y]
        fail 7
        join a2 static=one
        < a2 join COORDINATOR_NOT_AVAILABLE id=one#3
        < append failed: COORDINATOR_NOT_AVAILABLE
        show
        < Stable gen=1 by=range one#1[x] two#2[y]
        beat a static=one
        < a alive
        beat b static=two
        < b alive
        ",
    );
}

#[test]
fn a_restart_keeps_members_and_generation() {
    check(
        "
        join a v=3
        join b v=3
        tick 6000
        < a joined gen=1 id=a#1 leader=a#1 by=range all=a#1,b#2
        < b joined gen=1 id=b#2 leader=a#1 by=range
        sync a a:x b:y
        < a synced [x]
        sync b
        < b synced [y]
        restart
        beat a
        < a alive
        beat b
        < b alive
        sync a
        < a synced [x]
        tick 9000
        beat a
        < a alive
        tick 1001
        beat a
        < a beat REBALANCE_IN_PROGRESS
        beat b
        < b beat UNKNOWN_MEMBER_ID
        ",
    );
}

#[test]
fn a_restart_in_a_rebalance_goes_back_to_the_last_stable_generation() {
    check(
        "
        join a v=3
        tick 3000
        < a joined gen=1 id=a#1 leader=a#1 by=range all=a#1
        sync a a:x
        < a synced [x]
        join b v=3
        restart
        < b join NOT_COORDINATOR id=b#2
        beat a
        < a alive
        show
        < Stable gen=1 by=range a#1[x]
        ",
    );
}

#[test]
fn bad_input() {
    check(
        "
        join a id=stranger
        < a join UNKNOWN_MEMBER_ID id=stranger
        sync a id=stranger gen=1
        < a sync UNKNOWN_MEMBER_ID
        beat a id=stranger gen=1
        < a beat UNKNOWN_MEMBER_ID
        leave stranger
        < leave Ok([UnknownMemberId])
        commit - t-0@1 gen=5
        < commit ILLEGAL_GENERATION
        commit - t-0@1 gen=5 v=9
        < commit GROUP_ID_NOT_FOUND
        join a session=100
        < a join INVALID_SESSION_TIMEOUT id=
        join a v=3
        tick 3000
        < a joined gen=1 id=a#2 leader=a#2 by=range all=a#2
        join a id=stranger
        < a join UNKNOWN_MEMBER_ID id=stranger
        sync a gen=0
        < a sync ILLEGAL_GENERATION
        sync a gen=2
        < a sync ILLEGAL_GENERATION
        sync a type=connect
        < a sync INCONSISTENT_GROUP_PROTOCOL
        sync a by=sticky
        < a sync INCONSISTENT_GROUP_PROTOCOL
        sync a id=stranger
        < a sync UNKNOWN_MEMBER_ID
        sync a a:x by=range type=consumer
        < a synced [x]
        beat a gen=0
        < a beat ILLEGAL_GENERATION
        beat a id=
        < a beat UNKNOWN_MEMBER_ID
        beat a id=none
        < a beat UNKNOWN_MEMBER_ID
        commit a t-0@1 gen=0
        < commit ILLEGAL_GENERATION
        commit a t-0@1 id=stranger
        < commit UNKNOWN_MEMBER_ID
        commit - t-0@1
        < commit UNKNOWN_MEMBER_ID
        delete
        < delete NON_EMPTY_GROUP
        ",
    );
}

#[test]
fn commits_of_members() {
    check(
        "
        join a v=3
        tick 3000
        < a joined gen=1 id=a#1 leader=a#1 by=range all=a#1
        commit a t-0@1
        < commit REBALANCE_IN_PROGRESS
        sync a a:x
        < a synced [x]
        commit a t-0@10 t-1@20/note
        < commit [None, None]
        fetch
        < offsets t-0@10 t-1@20/note
        join b v=3
        commit a t-0@11
        < commit [None]
        fetch
        < offsets t-0@11 t-1@20/note
        restart
        < b join NOT_COORDINATOR id=b#2
        fetch
        < offsets t-0@11 t-1@20/note
        ",
    );
}

#[test]
fn a_commit_keeps_its_member_alive() {
    check(
        "
        join a v=3
        tick 3000
        < a joined gen=1 id=a#1 leader=a#1 by=range all=a#1
        sync a a:x
        < a synced [x]
        tick 9000
        commit a t-0@1
        < commit [None]
        tick 9000
        beat a
        < a alive
        ",
    );
}

#[test]
fn a_simple_consumer_only_commits() {
    check(
        "
        commit - t-0@5 t-1@6
        < commit [None, None]
        fetch
        < offsets t-0@5 t-1@6
        list
        < g - Empty classic
        restart
        list
        < g - Empty classic
        commit - t-0@7
        < commit [None]
        fetch
        < offsets t-0@7 t-1@6
        delete-offset t-0 u-9
        < delete-offset Ok([None, None])
        fetch
        < offsets t-1@6
        delete
        < delete NONE
        list
        fetch
        < offsets
        restart
        list
        ",
    );
}

#[test]
fn offsets_of_subscribed_topics_stay() {
    check(
        "
        join a v=3 topics=t
        tick 3000
        < a joined gen=1 id=a#1 leader=a#1 by=range all=a#1
        sync a a:x
        < a synced [x]
        commit a t-0@1 u-0@2
        < commit [None, None]
        delete-offset t-0 u-0 v-0
        < delete-offset Ok([GroupSubscribedToTopic, None, None])
        fetch
        < offsets t-0@1
        delete
        < delete NON_EMPTY_GROUP
        leave a
        < leave Ok([None])
        delete
        < delete NONE
        list
        ",
    );
}

#[test]
fn metadata_has_a_limit() {
    let config = GroupConfig { offset_metadata_max_bytes: 4, ..GroupConfig::default() };
    check_with(
        config,
        "
        commit - t-0@1/1234 t-1@1/12345
        < commit [None, OffsetMetadataTooLarge]
        fetch
        < offsets t-0@1/1234
        ",
    );
}

#[test]
fn offsets_expire_only_while_the_group_is_empty() {
    let config = GroupConfig {
        offsets_retention_ms: 60_000,
        offsets_retention_check_interval_ms: 10_000,
        ..GroupConfig::default()
    };
    check_with(
        config,
        "
        join a v=3 session=600000
        tick 3000
        < a joined gen=1 id=a#1 leader=a#1 by=range all=a#1
        sync a a:x
        < a synced [x]
        commit a t-0@1
        < commit [None]
        tick 120000
        fetch
        < offsets t-0@1
        leave a
        < leave Ok([None])
        tick 50000
        fetch
        < offsets t-0@1
        tick 20000
        fetch
        < offsets
        list
        ",
    );
}

#[test]
fn offsets_of_left_topics_and_simple_groups_age_from_their_commit() {
    let config = GroupConfig {
        offsets_retention_ms: 60_000,
        offsets_retention_check_interval_ms: 10_000,
        ..GroupConfig::default()
    };
    check_with(
        config,
        "
        join a v=3 session=600000 topics=t
        tick 3000
        < a joined gen=1 id=a#1 leader=a#1 by=range all=a#1
        sync a a:x
        < a synced [x]
        commit a t-0@1 u-0@2
        < commit [None, None]
        group simple
        commit - t-0@3
        < commit [None]
        commit - t-1@3 retain=20000
        < commit [None]
        tick 30000
        fetch
        < offsets t-0@3
        tick 40000
        fetch
        < offsets
        list
        < g consumer Stable classic
        group g
        fetch
        < offsets t-0@1
        ",
    );
}

#[test]
fn deleted_topics_take_their_offsets_along() {
    check(
        "
        commit - t-0@1 t-1@2 u-0@3
        < commit [None, None, None]
        forget-topic t
        fetch
        < offsets u-0@3
        ",
    );
}

#[test]
fn lists_are_filtered_without_regard_to_case() {
    check(
        "
        commit - t-0@1
        < commit [None]
        group live
        join a v=3
        list
        < g - Empty classic
        < live consumer PreparingRebalance classic
        list state=empty
        < g - Empty classic
        list state=PREPARINGREBALANCE
        < live consumer PreparingRebalance classic
        list state=nonsense
        list type=Classic
        < g - Empty classic
        < live consumer PreparingRebalance classic
        list type=consumer
        ",
    );
}

#[test]
fn the_idle_consumer_of_the_books() {
    check(
        "
        join a v=3
        join b v=3
        join c v=3
        join d v=3
        join e v=3
        tick 6000
        < a joined gen=1 id=a#1 leader=a#1 by=range all=a#1,b#2,c#3,d#4,e#5
        < b joined gen=1 id=b#2 leader=a#1 by=range
        < c joined gen=1 id=c#3 leader=a#1 by=range
        < d joined gen=1 id=d#4 leader=a#1 by=range
        < e joined gen=1 id=e#5 leader=a#1 by=range
        sync a a:0 b:1 c:2
        < a synced [0]
        sync b
        < b synced [1]
        sync c
        < c synced [2]
        sync d
        < d synced []
        sync e
        < e synced []
        tick 5000
        beat a
        < a alive
        beat b
        < b alive
        beat d
        < d alive
        beat e
        < e alive
        tick 5001
        join a
        join b
        join d
        join e
        < a joined gen=2 id=a#1 leader=a#1 by=range all=a#1,b#2,d#4,e#5
        < b joined gen=2 id=b#2 leader=a#1 by=range
        < d joined gen=2 id=d#4 leader=a#1 by=range
        < e joined gen=2 id=e#5 leader=a#1 by=range
        sync a a:0 b:1 d:2
        < a synced [0]
        sync d
        < d synced [2]
        sync e
        < e synced []
        show
        < Stable gen=2 by=range a#1[0] b#2[1] d#4[2] e#5[]
        ",
    );
}

#[test]
fn a_new_member_that_gave_up_is_forgotten_after_five_minutes() {
    check(
        "
        join a v=3 rebalance=900000
        tick 3000
        < a joined gen=1 id=a#1 leader=a#1 by=range all=a#1
        sync a a:x
        < a synced [x]
        join b v=3 rebalance=900000
        beat a
        < a beat REBALANCE_IN_PROGRESS
        tick 9000
        beat a
        < a beat REBALANCE_IN_PROGRESS
        tick 9000
        join a rebalance=900000
        < a joined gen=2 id=a#1 leader=a#1 by=range all=a#1,b#2
        < b joined gen=2 id=b#2 leader=a#1 by=range
        ",
    );
}
