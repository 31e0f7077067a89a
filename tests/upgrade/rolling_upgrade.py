"""A rolling upgrade from the last release to the current tree under traffic, back again, and forward once more.

`./just upgrade-test` runs it (docs/explanation/upgrades.md). Every process is replaced by itself, in random order; its
seed is printed, and `UPGRADE_SEED` sets it.
"""

import asyncio
import json
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from infra.load.mail_folder import Mailbox
from tests.upgrade.deployment import Deployment
from tests.upgrade.followers import Follower, SseFollower, WebSocketFollower, following
from tests.upgrade.gateways import Gateways
from tests.upgrade.people import Person, busy
from tests.upgrade.releases import ADDED, Release, last_release, next_release

_NAMES = ("anna", "boris", "clara", "dmitri", "elena", "fjodor")
_DELIVERED_WITHIN = 300.0
_POLL = 0.05


@pytest.mark.within(1_800)
async def test_upgrade_rollback_and_upgrade_under_traffic_without_a_failed_request(tmp_path: Path) -> None:
    seed = int(os.environ.get("UPGRADE_SEED", random.randrange(1_000_000)))
    chance = random.Random(seed)
    _say(f"seed {seed}")
    with last_release(tmp_path) as old:
        new = next_release(tmp_path)
        _say("the last release has its environment")
        deployment = Deployment(tmp_path)
        try:
            await deployment.start(old)
            _say("everything runs in the last release")
            await _upgrade(deployment, old, new, chance)
        finally:
            await deployment.stop()
        assert deployment.errors() == []


async def _upgrade(deployment: Deployment, old: Release, new: Release, chance: random.Random) -> None:
    gateways = Gateways([process.url for process in deployment.gateways])
    people = [Person(gateways, name) for name in _NAMES]
    try:
        mailbox = Mailbox(deployment.mail)
        await asyncio.gather(*(person.register(mailbox) for person in people))
        *friends, strangers = list(zip(people[::2], people[1::2], strict=True))
        await asyncio.gather(*(one.befriend(other) for one, other in friends))
        followers = [
            kind(gateways, person)
            for pair in friends
            for person, kind in zip(pair, (SseFollower, WebSocketFollower), strict=True)
        ]
        async with following(followers):
            async with busy(gateways, deployment.mail, [*friends, strangers]):
                await deployment.prepare(new)
                _say("rights and streams are those of the present tree")
                for release in (new, old, new):
                    await _roll(deployment, gateways, release, chance)
                    await _assert_read_models(deployment, release)
                    _say(f"the read models of the {release.name} are equal to the streams")
            await _assert_delivered(followers, people)
        for one, other in friends:
            await _assert_conversation(one, other)
        await _assert_events_of_both(deployment, old)
        _say(f"{gateways.answers} requests, the slowest took {gateways.slowest:.1f} s")
    finally:
        for failure in gateways.failures:
            _say(f"failed: {failure}")
        await gateways.close()
    assert gateways.failures == []


async def _roll(deployment: Deployment, gateways: Gateways, release: Release, chance: random.Random) -> None:
    """Replaces every process, one after another, in random order."""
    for process in chance.sample(deployment.processes, len(deployment.processes)):
        began = time.monotonic()
        await deployment.replace(process, release)
        if process in deployment.gateways:
            gateways.put_back(process.url)
        _say(f"{process.name} runs in the {release.name}, after {time.monotonic() - began:.1f} s")


async def _assert_read_models(deployment: Deployment, release: Release) -> None:
    """The release's read models are what the streams say, and no event could not be applied."""
    await deployment.vestnik(release, "verify")
    dead_letters = await deployment.vestnik(release, "dead-letters", "list", "--json")
    assert dead_letters == "", dead_letters


async def _assert_delivered(followers: list[Follower], people: list[Person]) -> None:
    """Asserts that every acknowledged message of a conversation was delivered once, and in order."""
    partners = {one.user_id: other for one, other in zip(people[::2], people[1::2], strict=True)}
    partners |= {other.user_id: one for one, other in zip(people[::2], people[1::2], strict=True)}
    for follower in followers:
        expected = set(follower.person.acknowledged) | set(partners[follower.person.user_id].acknowledged)
        async with asyncio.timeout(_DELIVERED_WITHIN):
            while not expected <= {message["message_id"] for message in follower.messages}:
                await asyncio.sleep(_POLL)
        counts = Counter(message["message_id"] for message in follower.messages)
        assert [message_id for message_id, count in counts.items() if count > 1] == []
        sequences = [message["sequence"] for message in follower.messages]
        assert sequences == sorted(sequences)
        _say(f"{follower.person.name}: {len(expected)} messages live, over {follower.connections} connections")


async def _assert_conversation(one: Person, other: Person) -> None:
    """Both see the same messages, numbered without a gap; each acknowledged one is there once, with its text."""
    seen = await one.messages(other)
    assert [message["sequence"] for message in seen] == list(range(1, len(seen) + 1))
    of_other = await other.messages(one)
    assert [(m["message_id"], m["text"]) for m in of_other] == [(m["message_id"], m["text"]) for m in seen]
    for person in (one, other):
        sent = {m["message_id"]: m["text"] for m in seen if m["sender_id"] == person.user_id}
        assert list(sent.items()) == list(person.acknowledged.items())


async def _assert_events_of_both(deployment: Deployment, old: Release) -> None:
    """The last release reads what both have written: else this test would show nothing."""
    stored = (await deployment.vestnik(old, "events", "--type", "message.sent", "--raw", "--json")).splitlines()
    by_new = sum(ADDED in json.loads(line)["data"] for line in stored)
    assert 0 < by_new < len(stored)


def _say(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()
