"""How fast rows are rebuilt that events are folded into, or whose handlers look up others; a plain handler beside them.

One process of ours; `synchronous_commit` is on; the time is that of the whole call, with indexes and switch.
"""

import argparse
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import islice

import msgspec

from contracts.envelope import Recorded
from contracts.events.friendship import FriendshipAccepted
from contracts.events.message import MessageSent
from contracts.subjects import CONTACT, MESSAGING
from projections.engine import Projection, RowChanges, folds, handles, rows_of
from projections.engine.rebuild.rebuild import rebuild
from tests.bench import history, servers
from tests.bench.report import Row, main


class Counted(Projection):
    """A plain handler, for comparison."""

    streams = (MESSAGING,)
    tables = "CREATE TABLE {counted} (conversation_id uuid PRIMARY KEY, messages bigint, last_at timestamptz)"

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        key = {"conversation_id": event.aggregate_id}
        write.upsert("counted", key=key, add={"messages": 1}, greatest={"last_at": event.at})


class Streak(msgspec.Struct, frozen=True):
    day: date
    first_id: str
    mutual: bool
    days: int
    longest: int


class Streaks(Projection):
    """The days in a row on which two people wrote to each other."""

    streams = (MESSAGING,)
    tables = """
        CREATE TABLE {streaks} (
            conversation_id uuid PRIMARY KEY, day date, first_id uuid, mutual boolean, days bigint, longest bigint
        )
    """

    @folds(MessageSent, table="streaks", key="conversation_id")
    def wrote(self, row: Streak | None, event: Recorded[MessageSent]) -> Streak:
        sender, day = event.data.sender_id, event.at.date()
        if row is None:
            return Streak(day, sender, False, 0, 0)
        if day > row.day:
            is_next = row.mutual and day - row.day == timedelta(days=1)
            return Streak(day, sender, False, row.days if is_next else 0, row.longest)
        if row.mutual or sender == row.first_id:
            return row
        return Streak(row.day, row.first_id, True, row.days + 1, max(row.longest, row.days + 1))


class FriendId(msgspec.Struct, frozen=True):
    friend_id: str


class Wider(Projection):
    """One row a sender, out of all of their conversations."""

    streams = (MESSAGING,)
    tables = "CREATE TABLE {wider} (user_id uuid PRIMARY KEY, messages bigint, characters bigint)"

    @folds(MessageSent, table="wider", key=lambda event: {"user_id": event.data.sender_id})
    def wrote(self, row: "Sender | None", event: Recorded[MessageSent]) -> "Sender":
        before = row or Sender(0, 0)
        return Sender(before.messages + 1, before.characters + len(str(event.data.text)))


class Sender(msgspec.Struct, frozen=True):
    messages: int
    characters: int


class FriendsOfFriends(Projection):
    """Fans each friendship out to the friends of both."""

    streams = (CONTACT,)
    tables = """
        CREATE TABLE {friends} (user_id uuid, friend_id uuid, PRIMARY KEY (user_id, friend_id));
        CREATE TABLE {friends_of_friends} (user_id uuid PRIMARY KEY, number bigint)
    """

    @handles(
        FriendshipAccepted,
        ours=rows_of("friends", FriendId, key=lambda event: {"user_id": event.data.requester_id}),
        theirs=rows_of("friends", FriendId, key=lambda event: {"user_id": event.data.addressee_id}),
    )
    def accepted(
        self,
        event: Recorded[FriendshipAccepted],
        write: RowChanges,
        ours: Sequence[FriendId],
        theirs: Sequence[FriendId],
    ) -> None:
        one, other = event.data.requester_id, event.data.addressee_id
        write.insert("friends", key={"user_id": one, "friend_id": other})
        write.insert("friends", key={"user_id": other, "friend_id": one})
        for friend in (*ours, *theirs):
            write.upsert("friends_of_friends", key={"user_id": friend.friend_id}, add={"number": 1})


async def measure(arguments: argparse.Namespace) -> list[Row]:
    people = history.people()
    async with servers.nats(sync_always=False) as (client, _), servers.postgres() as url:
        await history.write(client, islice(history.talk(people), arguments.events))
        await history.write(client, history.friendships(people))
        rates = {}
        for projection in (Counted, Streaks, Wider, FriendsOfFriends):
            rebuilt = [await rebuild(projection, client, url) for _ in range(arguments.rounds)]
            rates[projection] = max(timed.events / timed.seconds for timed in rebuilt)
    events = f"{arguments.events:,} messages and marks"
    return [
        Row(f"a plain handler, {events}", rates[Counted], "events/s"),
        Row(f"a fold by aggregate, {events}", rates[Streaks], "events/s", "at least 20,000"),
        Row("… against the plain handler", rates[Counted] / rates[Streaks], "times as long", "at most 2"),
        Row(f"a fold by sender, {events}", rates[Wider], "events/s", "at least 20,000"),
        Row("friendships fanned out by lookups", rates[FriendsOfFriends], "events/s"),
    ]


if __name__ == "__main__":
    main(measure, events=1_000_000, rounds=2)
