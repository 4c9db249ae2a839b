"""Scenarios of group membership beyond the plain case: crashes, static members, cooperative hand-over,
and the protocol of KIP-848."""

from __future__ import annotations

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

    def __init__(self, context: Context, group: str, topic: str, instance: str = "-"):
        command = [sys.executable, "-m", "harness.member", context.client]
        command += [context.driver.bootstrap, topic, group, instance, str(SESSION_MS)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.held: set[int] = set()
        self.failure = None
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        for line in self.process.stdout:
            self.held = {int(partition) for partition in line.strip().split(",") if partition}

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()
        self.held = set()


@scenario("member_killed", "a member is killed, another one takes over its partitions")
def member_killed(context: Context) -> None:
    topic, group = context.topic(4), context.name(".group")
    member = Member(context, group, topic, Options(session_ms=SESSION_MS))
    other = OtherProcess(context, group, topic)
    try:
        member.start()
        eventually(lambda: shared([member, other], [2, 2]), "two members hold two partitions each")
        other.kill()
        eventually(lambda: shared([member], [4]), "the survivor holds all four")
    finally:
        other.kill()
        member.leave()


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
