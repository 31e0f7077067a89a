"""Every act and every look that an operator has a command or a button for is an event, with its reason and its end."""

import asyncio
from pathlib import Path

import msgspec
from click.testing import CliRunner

from contracts.envelope import now
from contracts.personal_data.key_ids import person_key
from contracts.values.ids import new_id
from contracts.values.timestamps import rfc3339
from infra.archive.stream_access import Store
from infra.cli.main import cli
from infra.runtime.connections import connect_nats
from infra.runtime.run_file import find
from infra.security.secrets import TOPOLOGY
from infra.settings import Settings
from streams.personal_data.key_store import KeyStore
from tests.e2e.operators import operator
from tests.e2e.people import Api, Json, Person
from tests.e2e.test_audit import lines
from tests.fix_system import System

WHY = ("--reason", "once a year")
LETTER = "friends.v1.b1.CONTACT.1"
# By the name of the act, in the order in which they are done: the command that does it. `skip` fails: `analytics` has
# stopped at no event.
ACTS = {
    "operators.add": ("operators", "add", "{user}", *WHY),
    "operators.remove": ("operators", "remove", "{user}", *WHY),
    "accounts.reset_totp": ("accounts", "reset-totp", "{user}", *WHY),
    "sessions.revoke": ("sessions", "revoke", "--user", "{user}", *WHY),
    "hold.place": ("hold", "place", "{user}", *WHY),
    "hold.release": ("hold", "release", "{user}", *WHY),
    "keys.rotate": ("keys", "rotate", *WHY),
    "keys.rotate_notary": ("keys", "rotate-notary", *WHY),
    "keys.rotate_positions": ("keys", "rotate-positions", *WHY),
    "keys.rotate_services": ("keys", "rotate-services", *WHY),
    "keys.rotate_totp": ("keys", "rotate-totp", *WHY),
    "keys.rotate_personal_data": ("keys", "rotate-personal-data", *WHY),
    "keys.rewrap": ("keys", "rewrap", *WHY),
    "keys.back_up": ("keys", "back-up", "{folder}/keys", *WHY),
    "keys.restore": ("keys", "restore", "{folder}/keys", *WHY),
    "read_model.pause": ("projections", "pause", "analytics", *WHY),
    "read_model.resume": ("projections", "resume", "analytics", *WHY),
    "read_model.reset": ("projections", "reset", "analytics", "--yes", *WHY),
    "read_model.skip": ("projections", "skip", "analytics", *WHY),
    "read_model.rebuild": ("rebuild", "analytics", *WHY),
    "read_model.back": ("rebuild", "analytics", "--back", *WHY),
    "read_model.drop_old": ("rebuild", "analytics", "--drop-old", *WHY),
    "read_model.verify": ("verify", "analytics"),
    "dead_letter.retry": ("dead-letters", "retry", "analytics", *WHY),
    "streams.verify": ("verify", "--streams"),
    "audit.verify": ("audit", "verify", "--stream", "OPERATOR"),
    "archive.export": ("export", "{folder}/history", *WHY),
    "streams.create": ("streams",),
    "streams.restored": ("streams", "restored", *WHY),
    "nats.accounts": ("nats-config",),
    "postgres.logins": ("postgres-logins",),
    "keys.accept_loss": ("keys", "accept-loss", "person.{lost}", *WHY),
}
ACTS_ON_PAGE = {"maintenance.cancel", "report.settle"}
# They need a system in a state of its own, and tests of their own show that they are recorded.
ACTS_ELSEWHERE = {
    "accounts.erase",
    "archive.import",
    "dead_letter.discard",
    "deployment.secrets",
    "stream.accept_loss",
}
# Nothing has the ids that `dead-letters show` and `audit prove` ask for: a look is recorded before that shows.
LOOKS_BY_COMMAND = {
    "aggregate": ("aggregate", "user", "{user_id}"),
    "anomalies": ("audit", "anomalies"),
    "as_of": ("rebuild", "friends", "--as-of", "{now}", "--into", "then"),
    "dead_letter": ("dead-letters", "show", LETTER),
    "events": ("events", "--type", "user.created"),
    "holds": ("hold", "list"),
    "operators": ("audit", "operators"),
    "proof": ("audit", "prove", "{new_id}"),
    "rows": ("rows", "friends"),
    "sessions": ("audit", "sessions", "--user", "{user}"),
}
LOOKS_ON_PAGE = {"person", "report", "reports", "trace"}
FAILING = {"read_model.skip", "dead_letter", "proof"}


def run(system: System, *arguments: str, **more: str) -> int:
    """Runs a command within this process, since starting 40 would take minutes of CPU; returns its exit code."""
    return CliRunner(env={**system.environment, **more}).invoke(cli, arguments).exit_code


async def lose_key(settings: Settings, user_id: str) -> None:
    """The store loses the key of the person's data."""
    nc = await connect_nats(Store(settings, alone=False).as_party("auth"), "loses-a-key", patience=5.0)
    try:
        store = KeyStore(nc)
        for version in await store.versions(person_key(user_id)):
            await store.erase(version.revision)
    finally:
        await nc.close()


def act_and_look_by_command(system: System, values: dict[str, str]) -> None:
    settings = Settings(data_dir=system.data_dir, nats_url=find(system.data_dir).nats_url)
    # The streams are there; this login may create them.
    topology = Store(settings, alone=False).as_party(TOPOLOGY).nats_url
    for name, words in {**ACTS, **LOOKS_BY_COMMAND}.items():
        command = [word.format_map(values) for word in words]
        more = {"VESTNIK_NATS_URL": topology} if name == "streams.create" else {}
        if name == "keys.accept_loss":
            asyncio.run(lose_key(settings, values["lost"]))
        assert run(system, *command, **more) == (1 if name in FAILING else 0), command


async def act_and_look_on_the_page(olga: Person) -> None:
    job = await olga.ask("POST", "/v1/ops/maintenance", json={"kind": "verify", "projection": "friends"})
    assert job.status_code == 200, job.text
    cancelled = await olga.ask("POST", "/v1/ops/maintenance/cancel", json={"id": job.json()["id"]})
    assert cancelled.status_code == 200, cancelled.text
    missing = new_id()
    settled = {"id": missing, "outcome": "upheld", "note": "once a year"}
    assert (await olga.ask("POST", "/v1/ops/reports/settle", json=settled)).status_code == 404
    for path in ("reports", f"report?id={missing}", f"person?user={olga.username}", f"event?id={missing}"):
        assert (await olga.get(f"/v1/ops/{path}")).status_code in {200, 404}


def names(rows: list[Json]) -> set[str]:
    return {row.get("action") or row["what"] for row in rows}


async def test_every_act_and_look_of_the_tables_is_recorded(fresh_api: Api, tmp_path: Path) -> None:
    api, system = fresh_api, fresh_api.system
    olga, person, lost = await operator(api), await api.person(), await api.person()
    since = rfc3339(now())
    values = {"user": person.username, "user_id": person.user_id, "lost": lost.user_id, "folder": str(tmp_path)}
    values |= {"now": since, "new_id": new_id()}
    await asyncio.to_thread(act_and_look_by_command, system, values)
    await act_and_look_on_the_page(olga)
    rows = await asyncio.to_thread(lines, system, "audit", "operators", "--since", since)
    acts, looks = [row for row in rows if "action" in row], [row for row in rows if "what" in row]
    assert names(acts) == ACTS.keys() | ACTS_ON_PAGE
    assert names(looks) == LOOKS_BY_COMMAND.keys() | LOOKS_ON_PAGE
    failed = {row["action"] for row in acts if row["outcome"] == "failed"}
    assert failed == {"read_model.skip", "report.settle"}, rows
    without = {row["action"] for row in acts if not row["reason"]}
    assert without <= {
        "audit.verify",
        "maintenance.cancel",
        "nats.accounts",
        "postgres.logins",
        "read_model.verify",
        "streams.create",
        "streams.verify",
    }
    for row in rows:
        assert row["operator"], row
        assert row["address"], row
        assert row["at"] >= since, row
    # None of them says more of a person than their id, or what was asked for.
    assert person.email not in msgspec.json.encode(acts).decode()
