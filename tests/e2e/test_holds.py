"""Legal holds as an operator places, lists and releases them; the person whose data it is notices nothing."""

import asyncio
import json
import subprocess

from tests.e2e.people import Api, Json, items
from tests.fix_system import one_replica

REASON = "order 17 of the court"


async def run(api: Api, *arguments: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(api.system.vestnik, *arguments)


async def shown(api: Api, *arguments: str) -> list[Json]:
    done = await run(api, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@one_replica
async def test_a_hold_is_placed_listed_and_released_and_its_person_is_not_notified(api: Api) -> None:
    anna = await api.person()
    mails, notified = len(api.mails_to(anna.email)), items(await anna.get("/v1/notifications"))
    place = ("hold", "place", anna.username, "--by", "alice")
    refused = await run(api, *place)
    assert (refused.returncode, refused.stdout) == (2, "")
    for changed in (True, False):
        assert await shown(api, *place, "--reason", REASON) == [{"user_id": anna.user_id, "changed": changed}]
    [held] = [row for row in await shown(api, "hold", "list") if row["user_id"] == anna.user_id]
    assert (held["username"], held["reason"], held["by"]) == (anna.username, REASON, "alice")
    # Another operator who finds it placed does not become the one who placed it.
    await shown(api, "hold", "place", anna.user_id, "--by", "bob", "--reason", "another case")
    [held] = [row for row in await shown(api, "hold", "list") if row["user_id"] == anna.user_id]
    assert (held["reason"], held["by"]) == (REASON, "alice")
    table = (await run(api, "hold", "list")).stdout
    assert anna.username in table
    assert REASON in table
    release = ("hold", "release", anna.user_id, "--reason", "the court is done")
    for changed in (True, False):
        assert await shown(api, *release) == [{"user_id": anna.user_id, "changed": changed}]
    assert anna.user_id not in {row["user_id"] for row in await shown(api, "hold", "list")}
    # Placed again, it is the new one that counts.
    await shown(api, "hold", "place", anna.user_id, "--reason", "another order")
    [again] = [row for row in await shown(api, "hold", "list") if row["user_id"] == anna.user_id]
    assert again["reason"] == "another order"
    await shown(api, *release)

    acts = await shown(api, "audit", "operators", "--action", "hold.place")
    assert [act["reason"] for act in acts if act["target"] == anna.user_id] == [
        REASON,
        REASON,
        "another case",
        "another order",
    ]
    assert await shown(api, "audit", "operators", "--action", "holds")
    assert len(api.mails_to(anna.email)) == mails
    assert items(await anna.get("/v1/notifications")) == notified
    events = await shown(api, "events", "--id", anna.user_id, "--type", "data_keys.hold_placed")
    assert events
    assert all(event["data"] is None for event in events)
    nobody = await run(api, "hold", "place", "nobody.at.all", "--reason", REASON)
    assert (nobody.returncode, "there is no user nobody.at.all" in nobody.stderr) == (1, True)
