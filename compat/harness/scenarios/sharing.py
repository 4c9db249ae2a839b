"""Scenarios of what groups share and who may change it: idle members, patterns, offsets set from outside."""

from __future__ import annotations

from harness.driver import KafkaFailure, Options
from harness.scenarios.base import (
    Context,
    eventually,
    expect,
    expect_equal,
    expect_failure,
    keyed,
    read,
    scenario,
)
from harness.scenarios.groups import Member, with_active_group
from harness.scenarios.membership import CONSUMER_HEARTBEAT, SESSION_MS, OtherProcess


def shares(members: list) -> list[int]:
    """How many of three partitions each member holds; nothing while a partition has no owner, or two."""
    for member in members:
        if member.failure is not None:
            raise member.failure
    held = [set(member.held) for member in members]
    whole = sorted(partition for each in held for partition in each) == [0, 1, 2]
    return sorted(map(len, held)) if whole else []


@scenario("idle_members", "of five members for three partitions two are idle; one is killed, one takes over")
def idle_members(context: Context) -> None:
    topic, group = context.topic(3), context.name(".group")
    options = Options(session_ms=SESSION_MS)
    # Two can be idle, so that one of these three holds a partition.
    others = [OtherProcess(context, group, topic) for _ in range(3)]
    members = [Member(context, group, topic, options) for _ in range(2)]
    reader = Member(context, context.name(".second"), topic, options)
    try:
        for member in [*members, reader]:
            member.start()
        eventually(lambda: shares([*members, *others]) == [0, 0, 1, 1, 1], "three hold, two are idle")
        killed = next(other for other in others if other.held)
        others.remove(killed)
        killed.kill()
        eventually(lambda: shares([*members, *others]) == [0, 1, 1, 1], "an idle member took over")
        records = keyed(90)
        for i, record in enumerate(records):
            record.partition = i % 3
        context.driver.produce(topic, records)
        wanted = {(partition, offset) for partition in range(3) for offset in range(30)}
        eventually(lambda: reader.seen == wanted, "one group reads the whole topic")
        eventually(
            lambda: set().union(*(each.seen for each in [*members, *others])) == wanted,
            "the other group reads the whole topic too",
        )
    finally:
        for other in others:
            other.kill()
        for member in [*members, reader]:
            if member.is_alive():
                member.leave()


class PatternMember(Member):
    """A member whose topic is an expression."""

    def __init__(self, context: Context, group: str, pattern: str, options: Options = Options()):
        super().__init__(context, group, pattern, options)
        self.consumer.subscribe = self.consumer.subscribe_pattern


@scenario("pattern", "subscribe to the topics whose names match an expression")
def pattern(context: Context) -> None:
    context.topic(1, suffix=".match.a")
    context.topic(3, suffix=".match.b")
    context.topic(5, suffix=".other")
    expression = "^" + context.name(".match.").replace(".", "[.]") + ".*"
    member = PatternMember(context, context.name(".group"), expression)
    try:
        member.start()
        for suffix, records in ((".match.a", 1), (".match.b", 3)):
            written = keyed(records)
            for i, record in enumerate(written):
                record.partition = i
            context.driver.produce(context.name(suffix), written)
        eventually(lambda: member.failure or member.held == {0, 1, 2}, "both topics are assigned")
        expect(member.failure is None, f"the member failed: {member.failure}")
        eventually(lambda: member.seen == {(p, 0) for p in range(3)}, "records of them are read")
    finally:
        member.leave()


@scenario(
    "new_protocol_regex",
    "the broker matches the expression; a topic that is made later belongs to it too",
    {CONSUMER_HEARTBEAT},
)
def new_protocol_regex(context: Context) -> None:
    context.topic(1, suffix=".match.a")
    context.topic(5, suffix=".other")
    expression = "^" + context.name(".match.").replace(".", "[.]") + ".*"
    group, options = context.name(".group"), Options(new_protocol=True)
    members = [PatternMember(context, group, expression, options) for _ in range(2)]
    held = lambda: sorted(partition for member in members for partition in member.held)  # noqa: E731
    try:
        for member in members:
            member.start()
        eventually(lambda: held() == [0], "the one partition is with one member")
        context.topic(3, suffix=".match.b")
        # Partition 0 is there twice now, and a member that has both shows it once.
        eventually(lambda: held() in ([0, 1, 2], [0, 0, 1, 2]), "the new topic is shared as well")
    finally:
        for member in members:
            if member.is_alive():
                member.leave()


@scenario("reset_offsets", "an administrator sets what a group has committed, if it has no members")
def reset_offsets(context: Context) -> None:
    topic = context.name()

    def refused(group: str) -> None:
        try:
            context.driver.set_offsets(group, topic, {0: 4})
        except KafkaFailure:
            return
        raise AssertionError("a group with a member was reset")

    group = with_active_group(context, refused)
    eventually(lambda: context.driver.describe_group(group)[1] == 0, "the group has no member")
    expect_equal(context.driver.committed(group, topic, 1), {0: 10}, "committed before")
    context.driver.set_offsets(group, topic, {0: 4})
    expect_equal(context.driver.committed(group, topic, 1), {0: 4}, "committed after")
    consumer = context.driver.consumer(group)
    try:
        consumer.subscribe(topic)
        found = read(consumer, 6)
    finally:
        consumer.close()
    expect_equal([record.offset for record in found], list(range(4, 10)), "offsets read")


@scenario("commit_unknown_topic", "a commit for a topic that is not there is refused")
def commit_unknown_topic(context: Context) -> None:
    topic, group = context.name(".nowhere"), context.name(".group")
    expect_failure(
        "UNKNOWN_TOPIC_OR_PARTITION", lambda: context.strict.set_offsets(group, topic, {0: 1})
    )
    expect(topic not in context.strict.list_topics(), "the commit made the topic")
