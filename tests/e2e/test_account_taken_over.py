"""An account is attacked, taken over and recovered; the how-to's commands show each of these steps."""

import asyncio
import csv
import io
import time
from collections.abc import Sequence

import pyotp

from tests.e2e.documented_commands import blocks, typed
from tests.e2e.operators import asked, operator
from tests.e2e.people import PASSWORD, Api, Json, Person, assert_problem, eventually, items
from tests.fix_system import ROOT, one_replica

PAGE = ROOT / "docs/howto/investigate-an-account-taken-over.md"
# Three logins, two changes of the address, a password and a second factor.
ALERTS = 7
NEW, REASON = "another horse battery", "phone stolen, the owner called"


async def mailed(api: Api, email: str, subject: str, before: str) -> str:
    """The rest of the mail's line that begins with `before`."""

    async def rest() -> str:
        text = await api.mail_to(email, subject)
        return next((line.partition(before)[2].strip() for line in text.splitlines() if before in line), "")

    return await eventually(rest, f"the mail {subject!r}")


async def take_over(api: Api, owner: Person) -> Person:
    """The attacker guesses the password, logs in, and moves the account to another e-mail address."""
    # So many failures that they are an anomaly, even if a clock hour ends half-way.
    for _ in range(40):
        assert_problem(await api.log_in(owner.username, "guessed", device="Attacker"), 401, "invalid_credentials")
    attacker = await api.again(owner, device="Attacker")
    address = api.registration()["email"]
    change = await attacker.ask("PUT", "/v1/users/me/email", json={"email": address, "password": PASSWORD})
    assert change.status_code == 202, change.text
    body = {"token": await api.mailed_token(address), "password": PASSWORD}
    confirmed = await api.http.post("/v1/users/verify-email", json=body)
    assert confirmed.status_code == 204, confirmed.text
    return attacker


async def win_back(api: Api, owner: Person) -> Person:
    """The owner reports the login, which restores the address, and has a new password and two-step verification.

    Returns their next login, from a phone.
    """
    not_me = await mailed(api, owner.email, "Login from a new device", "/#/not-me/")
    reported = await api.http.post("/v1/users/not-me", json={"token": not_me})
    assert reported.status_code == 200, reported.text
    reset = {"token": reported.json()["reset_token"], "new_password": NEW}
    confirmed = await api.http.post("/v1/users/password-reset/confirm", json=reset)
    assert confirmed.status_code == 204, confirmed.text
    back = await api.again(owner, password=NEW, device="Laptop")
    begun = await back.ask("POST", "/v1/users/me/totp", json={"password": NEW})
    app = pyotp.TOTP(begun.json()["secret"])
    step = int(time.time()) // 30
    confirmed = await back.ask("POST", "/v1/users/me/totp/confirm", json={"code": app.generate_otp(step)})
    assert confirmed.status_code == 200, confirmed.text
    api.http.cookies.clear()
    phone = await api.again(owner, password=NEW, device="Phone", totp=app.generate_otp(step + 1))

    async def is_alerted() -> bool:
        notifications = items(await phone.get("/v1/notifications", params={"limit": 200}))
        return len([one for one in notifications if one["from_user_id"] == owner.user_id]) == ALERTS

    await eventually(is_alerted, "all alerts")
    return phone


async def operator_acts(api: Api, olga: Person, owner: Person, phone: Person) -> None:
    """An operator finds the anomaly, looks at the logins of the account, and ends the phone's session."""

    async def is_found() -> bool:
        page = await asked(olga, "anomalies?rule=account_failures&limit=500")
        return any(item["user_id"] == owner.user_id for item in page["items"])

    await eventually(is_found, "the anomaly")
    await asked(olga, f"session-events?user={owner.username}&failures=true")
    end = {"session_id": phone.session_id, "reason": REASON}
    ended = await olga.ask("POST", "/v1/ops/sessions/end", json=end)
    assert ended.status_code == 200, ended.text


def table(text: str) -> list[Json]:
    return list(csv.DictReader(io.StringIO(text)))


def documented() -> list[list[Json]]:
    """The tables that the page shows."""
    return [table(block) for block in blocks(PAGE, "csv")]


def columns(rows: Sequence[Json], *names: str) -> list[tuple[str, ...]]:
    return [tuple(row[name] for name in names) for row in rows]


@one_replica
async def test_every_step_is_found_again_by_the_commands_as_the_page_shows_it(api: Api) -> None:
    olga, owner = await operator(api), await api.person()
    attacker = await take_over(api, owner)
    phone = await win_back(api, owner)
    await operator_acts(api, olga, owner, phone)
    variables = f"export ACCOUNT={owner.username} USER_ID={owner.user_id} OPERATOR={olga.username}"
    shown = [await asyncio.to_thread(typed, api.system, f"{variables}\n{block}") for block in blocks(PAGE)]
    summary, anomalies, failures, trail, password, address, operators = shown
    on_page = documented()

    counts = columns(table(summary), "event", "reason", "count")
    assert [count for count in counts if count[0] != "login.failed"] == [
        count for count in columns(on_page[0], "event", "reason", "count") if count[0] != "login.failed"
    ]
    # Failures of several hours and those that wait for their count may be in other events.
    assert sum(int(count) for event, _, count in counts if event == "login.failed") >= 20
    anomaly = table(anomalies)[-1]
    assert (anomaly["rule"], anomaly["username"]) == ("account_failures", owner.username)
    assert list(anomaly) == list(on_page[1][0])
    origin = ("username", "device", "address", "reason")
    assert columns(table(failures), *origin) == [(owner.username, "Attacker", "127.0.0.1", "wrong_password")] * 2

    def steps(rows: Sequence[Json]) -> list[tuple[str, ...]]:
        """The operator's name differs."""
        return [
            (event, device, reason.partition(" ")[0])
            for event, device, reason in columns(rows, "event", "device", "reason")
        ]

    rows = table(trail)
    assert sorted(steps(rows)) == sorted(steps(on_page[3]))
    sessions = [row for row in rows if row["event"].startswith("session.")]
    logins = [row for row in sessions if row["event"] == "session.created"]
    assert [row["device"] for row in logins] == ["", "Attacker", "Laptop", "Phone"]
    assert {row["user_id"] for row in rows} == {owner.user_id}
    assert [row["session_id"] for row in sessions if row["device"] == "Attacker"] == [attacker.session_id] * 2
    assert sessions[-1]["reason"] == f"operator {olga.username}: {REASON}"
    for word in ("credential.set", "password.voided", '"changed_by":"not_me"', '"changed_by":"password_reset"'):
        assert word in password
    assert [word for line in address.splitlines() for word in ("replaced", "restored") if f"email.{word}" in line] == [
        "replaced",
        "restored",
    ]
    seen = [row for row in table(operators) if owner.user_id in row["filter"] or row["reason"] == REASON]
    assert columns(seen, "operator", "channel", "action", "what", "outcome") == [
        (olga.username, "page", "", "sessions", ""),
        (olga.username, "page", "sessions.revoke", "", "done"),
    ]
    assert columns(seen, "channel", "action", "what", "outcome") == columns(
        [row for row in on_page[4] if row["what"] != "anomalies"], "channel", "action", "what", "outcome"
    )
    # What the auditor, the owner and the rules of anomalies see follows from the events alone.
    read_models = ("anomalies", "login_failures", "notifications", "session_audit", "sessions", "users")
    verified = await asyncio.to_thread(api.system.vestnik, "verify", *read_models, within=300)
    assert verified.returncode == 0, verified.stdout + verified.stderr
