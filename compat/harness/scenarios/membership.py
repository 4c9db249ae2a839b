"""Scenarios of group membership beyond the plain case: crashes, static members, cooperative hand-over,
and the protocol of KIP-848."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

from harness.driver import Options
from harness.scenarios.base import Context, eventually, expect, scenario
from harness.scenarios.groups import Member, share_and_part, shared

CONSUMER_HEARTBEAT = 68
SESSION_MS = 6000


class OtherProcess:
    """A member in a process of its own."""

    def __init__(
        self, context: Context, group: str, topic: str, instance: str = "-", protocol: str = "classic"
    ):
        command = [sys.executable, "-m", "harness.member", context.client]
        command += [context.driver.bootstrap, topic, group, instance, str(SESSION_MS), protocol]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.held: set[int] = set()
        self.seen: set[tuple[int, int]] = set()
        self.failure = None
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        for line in self.process.stdout:
            told = json.loads(line)
            self.held = set(told["held"])
            self.seen = {(partition, offset) for partition, offset in told["seen"]}

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()
        self.held = set()


def one_is_killed(context: Context, options: Options) -> None:
    """Of two members one is killed; the other one takes over once the session has timed out."""
    topic, group = context.topic(4), context.name(".group")
    member = Member(context, group, topic, options)
    protocol = "consumer" if options.new_protocol else "classic"
    other = OtherProcess(context, group, topic, protocol=protocol)
    try:
        member.start()
        eventually(lambda: shared([member, other], [2, 2]), "two members hold two partitions each")
        other.kill()
        eventually(lambda: shared([member], [4]), "the survivor holds all four")
    finally:
        other.kill()
        member.leave()


@scenario("member_killed", "a member is killed, another one takes over its partitions")
def member_killed(context: Context) -> None:
    one_is_killed(context, Options(session_ms=SESSION_MS))


@scenario("new_protocol_killed", "the same with members that the broker assigns", {CONSUMER_HEARTBEAT})
def new_protocol_killed(context: Context) -> None:
    one_is_killed(context, Options(new_protocol=True))


@scenario("static_restart", "a static member is killed and comes back, nobody else notices")
def static_restart(context: Context) -> None:
    topic, group = context.topic(4), context.name(".group")
    member = Member(context, group, topic, Options(instance="a", session_ms=30_000))
    other = OtherProcess(context, group, topic, "b")
    try:
        member.start()
        eventually(lambda: shared([member, other], [2, 2]), "two members hold two partitions each")
        before, held = set(other.held), set(member.held)
        member.history.clear()
        other.kill()
        other = OtherProcess(context, group, topic, "b")
        eventually(lambda: other.held == before, "the static member is back with its partitions")
        expect(all(each == held for each in member.history), "the other member was disturbed")
    finally:
        other.kill()
        member.leave()


@scenario(
    "new_protocol_static",
    "a static member that the broker assigns leaves and comes back, nobody else notices",
    {CONSUMER_HEARTBEAT},
)
def new_protocol_static(context: Context) -> None:
    # It leaves by itself: this protocol takes a name that was not given back for a second owner of it.
    topic, group = context.topic(4), context.name(".group")
    members = [
        Member(context, group, topic, Options(instance=name, new_protocol=True)) for name in "ab"
    ]
    try:
        for member in members:
            member.start()
        eventually(lambda: shared(members, [2, 2]), "two members hold two partitions each")
        staying, leaving = members
        before, held = set(leaving.held), set(staying.held)
        staying.history.clear()
        leaving.leave()
        back = Member(context, group, topic, Options(instance="b", new_protocol=True))
        members[1] = back
        back.start()
        eventually(lambda: back.held == before, "the static member is back with its partitions")
        expect(all(each == held for each in staying.history), "the other member was disturbed")
    finally:
        for member in members:
            if member.is_alive():
                member.leave()


@scenario("cooperative", "members keep what they may keep while another one joins and leaves")
def cooperative(context: Context) -> None:
    members = share_and_part(context, Options(cooperative=True))
    for member in members[:2]:
        expect(all(member.history), f"a member was left with nothing on the way: {member.history}")


@scenario("new_protocol", "the same with members that the broker assigns", {CONSUMER_HEARTBEAT})
def new_protocol(context: Context) -> None:
    share_and_part(context, Options(new_protocol=True))


@scenario("migration", "a group changes its protocol while members are inside", {CONSUMER_HEARTBEAT})
def migration(context: Context) -> None:
    topic, group = context.topic(4), context.name(".group")
    old = Member(context, group, topic)
    new = Member(context, group, topic, Options(new_protocol=True))
    try:
        old.start()
        eventually(lambda: shared([old], [4]), "the classic member holds all")
        new.start()
        eventually(lambda: shared([old, new], [2, 2]), "members of both protocols share")
        old.leave()
        eventually(lambda: shared([new], [4]), "the member of the new protocol holds all")
    finally:
        for member in (old, new):
            if member.is_alive():
                member.leave()
