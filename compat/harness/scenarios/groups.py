"""Scenarios of consumer groups of the classic protocol, and of their administration."""

from __future__ import annotations

import threading
from typing import Callable

from harness.driver import Options
from harness.scenarios.base import (
    DEADLINE_S,
    Context,
    check_dense,
    check_keyed,
    eventually,
    expect,
    expect_equal,
    expect_failure,
    keyed,
    read,
    scenario,
)


@scenario("group_commit", "read from the beginning in a group, commit, see what is committed")
def group_commit(context: Context) -> None:
    topic, group = context.topic(3), context.name(".group")
    written = keyed(300)
    context.driver.produce(topic, written)
    consumer = context.driver.consumer(group)
    try:
        consumer.subscribe(topic)
        found = read(consumer, 300)
        consumer.commit()
    finally:
        consumer.close()
    check_dense(found, {})
    check_keyed(written, found)
    ends = {partition: context.driver.watermarks(topic, partition)[1] for partition in range(3)}
    expect_equal(context.driver.committed(group, topic, 3), ends, "committed offsets")


@scenario("group_resume", "a group goes on where it had committed")
def group_resume(context: Context) -> None:
    topic, group = context.topic(2), context.name(".group")
    following: dict[int, int] = {}
    for first in (0, 200, 260):
        count = {0: 200, 200: 60, 260: 5}[first]
        written = keyed(count, first=first)
        context.driver.produce(topic, written)
        consumer = context.driver.consumer(group)
        try:
            consumer.subscribe(topic)
            found = read(consumer, count)
            consumer.commit()
        finally:
            consumer.close()
        check_dense(found, following)
        check_keyed(written, found)
        for record in found:
            following[record.partition] = record.offset + 1


class Member(threading.Thread):
    """A consumer of a group, polled by a thread of its own."""

    def __init__(self, context: Context, group: str, topic: str, options: Options = Options()):
        super().__init__(daemon=True)
        self.consumer = context.driver.consumer(group, options=options)
        self.topic = topic
        self.held: set[int] = set()
        # What it held after each poll, in order, without repetitions.
        self.history: list[set[int]] = []
        self.seen: set[tuple[int, int]] = set()
        self.failure: BaseException | None = None
        self.leaving = threading.Event()

    def run(self) -> None:
        try:
            self.consumer.subscribe(self.topic)
            while not self.leaving.is_set():
                for record in self.consumer.poll(0.1):
                    self.seen.add((record.partition, record.offset))
                self.held = set(self.consumer.assignment())
                if not self.history or self.history[-1] != self.held:
                    self.history.append(self.held)
        except BaseException as failure:  # noqa: BLE001 (handed to the scenario's thread)
            self.failure = failure
        finally:
            self.held = set()
            self.consumer.close()

    def leave(self) -> None:
        """Leaves the group."""
        self.leaving.set()
        self.join(DEADLINE_S)


def shared(members: list[Member], sizes: list[int]) -> bool:
    """Whether the members hold all partitions, each once, in these sizes."""
    for member in members:
        if member.failure is not None:
            raise member.failure
    held = [set(member.held) for member in members]
    union = set().union(*held)
    return sorted(map(len, held)) == sizes and len(union) == sum(sizes)


def share_and_part(context: Context, options: Options = Options()) -> list[Member]:
    """Two members share six partitions while a third joins and leaves; every record reaches a member."""
    topic, group = context.topic(6), context.name(".group")
    members = [Member(context, group, topic, options) for _ in range(2)]

    def write(first: int) -> None:
        records = keyed(120, first=first)
        for i, record in enumerate(records):
            record.partition = i % 6
        context.driver.produce(topic, records)

    try:
        write(0)
        for member in members:
            member.start()
        eventually(lambda: shared(members, [3, 3]), "two members hold three partitions each")
        write(120)
        for member in members:
            member.history.clear()
        members.append(Member(context, group, topic, options))
        members[2].start()
        eventually(lambda: shared(members, [2, 2, 2]), "three members hold two partitions each")
        write(240)
        members[2].leave()
        eventually(lambda: shared(members[:2], [3, 3]), "two members hold three again")
        write(360)
        wanted = {(partition, offset) for partition in range(6) for offset in range(80)}
        eventually(
            lambda: set().union(*(member.seen for member in members)) == wanted,
            "every record was handed to a member",
        )
    finally:
        for member in members:
            if member.is_alive():
                member.leave()
    return members


@scenario("rebalance", "two consumers share six partitions while a third joins and leaves")
def rebalance(context: Context) -> None:
    share_and_part(context)


def with_active_group(context: Context, check: Callable[[str], None]) -> str:
    """Runs a check while a group has one member that reads; returns the group, empty by then."""
    topic, group = context.topic(1), context.name(".group")
    context.driver.produce(topic, keyed(10))
    consumer = context.driver.consumer(group)
    try:
        consumer.subscribe(topic)
        read(consumer, 10)
        consumer.commit()
        check(group)
    finally:
        consumer.close()
    return group


@scenario("list_groups", "list groups, with members and without")
def list_groups(context: Context) -> None:
    def listed(group: str) -> None:
        expect(group in context.driver.list_groups(), "the active group is not listed")

    group = with_active_group(context, listed)
    expect(group in context.driver.list_groups(), "the empty group is not listed")


@scenario("describe_groups", "describe a group, with a member and without")
def describe_groups(context: Context) -> None:
    def described(group: str) -> None:
        expect_equal(context.driver.describe_group(group), ("stable", 1), "the active group")

    group = with_active_group(context, described)
    eventually(
        lambda: context.driver.describe_group(group) == ("empty", 0), "the group is empty"
    )


@scenario("delete_groups", "refuse to delete an active group, delete an empty one")
def delete_groups(context: Context) -> None:
    def refused(group: str) -> None:
        expect_failure("NON_EMPTY_GROUP", lambda: context.driver.delete_group(group))

    group = with_active_group(context, refused)
    eventually(lambda: context.driver.describe_group(group)[1] == 0, "the group has no member")
    context.driver.delete_group(group)
    expect(group not in context.driver.list_groups(), "the deleted group is still listed")
    expect_failure("GROUP_ID_NOT_FOUND", lambda: context.driver.delete_group(group))
