"""Users of the system over HTTP, as its clients are."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import httpx

from contracts.positions import Position
from infra.load.mail_folder import Mailbox
from infra.security.key_lifecycle import KeyTerms
from infra.security.position_keys import PositionKeys
from services.gateway.consistency.encrypted_positions import SealedPositions
from tests.fix_system import System

PASSWORD = "correct horse battery"
T = TypeVar("T")
_NUMBERS = count(1)

# A JSON object as it came over the wire; tests look into it by name.
Json = dict[str, Any]


# Seconds between two checks of what takes long.
_LONGEST_PAUSE = 0.25


async def eventually(
    condition: Callable[[], Awaitable[T]], what: str, *, within: float = 60.0, every: float = 0.02
) -> T:
    """Repeats a check until it returns a true value, after `every` seconds first and ever later; returns that value."""
    deadline = time.monotonic() + within
    while True:
        result = await condition()
        if result:
            return result
        assert time.monotonic() < deadline, f"{what}: not within {within:.0f} s"
        await asyncio.sleep(every)
        # What takes longer is slow because the processors are busy; checks would keep them busier.
        every = max(every, min(1.5 * every, _LONGEST_PAUSE))


def assert_problem(response: httpx.Response, status: int, code: str) -> Json:
    """The response is the problem document of the code; returns it."""
    assert (response.status_code, response.json().get("code")) == (status, code), response.text
    assert response.headers["Content-Type"].split(";")[0] == "application/problem+json"
    body: Json = response.json()
    assert body["status"] == status
    for field in ("type", "title", "detail", "instance"):
        assert isinstance(body[field], str), field
    return body


def items(response: httpx.Response) -> list[Json]:
    assert response.status_code == 200, response.text
    body: Json = response.json()
    assert set(body) >= {"items", "next"}
    listed: list[Json] = body["items"]
    return listed


class Person:
    """A user with an account and a session."""

    def __init__(self, http: httpx.AsyncClient, account: Json, session: Json, sealed: SealedPositions) -> None:
        self.http = http
        self.sealed = sealed
        self.user_id: str = account["user_id"]
        self.username: str = account["username"]
        self.email: str = account["email"]
        self.session_id: str = session["session_id"]
        self.access_token: str = session["access_token"]
        self.refresh_token: str = session["refresh_token"]
        self.device_token: str = session.get("device_token", "")
        # Of what this person wrote: sent with every request, as clients do that may meet one gateway or another.
        self.written = Position()
        self.tells_position = True

    @property
    def position(self) -> str:
        """The position of this user's writes, as the gateway encodes it for clients."""
        return self.sealed.seal(self.written)

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own
        headers = {"Authorization": f"Bearer {self.access_token}"}
        if self.tells_position and self.written.sequences:
            headers["Vestnik-Position"] = self.position
        headers |= options.pop("headers", {})
        response = await self.http.request(method, path, headers=headers, **options)
        if method != "GET" and "Vestnik-Position" in response.headers:
            self.written = self.written.merge(self.sealed.open(response.headers["Vestnik-Position"]))
        return response

    async def get(self, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own
        return await self.ask("GET", path, **options)

    async def add(self, other: "Person") -> httpx.Response:
        return await self.ask("PUT", f"/v1/friends/{other.user_id}")

    async def remove(self, other: "Person") -> httpx.Response:
        return await self.ask("DELETE", f"/v1/friends/{other.user_id}")

    async def write(self, other: "Person", text: str, client_message_id: str | None = None) -> httpx.Response:
        body = {"text": text, "client_message_id": client_message_id or uuid4().hex}
        return await self.ask("POST", f"/v1/conversations/{other.user_id}/messages", json=body)

    async def sends(self, other: "Person", *texts: str) -> list[Json]:
        """The messages, all of them acknowledged."""
        sent = []
        for text in texts:
            response = await self.write(other, text)
            assert response.status_code == 201, response.text
            sent.append(response.json())
        return sent

    async def edit(self, other: "Person", message_id: str, text: str) -> httpx.Response:
        path = f"/v1/conversations/{other.user_id}/messages/{message_id}"
        return await self.ask("PATCH", path, json={"text": text})

    async def delete(self, other: "Person", message_id: str) -> httpx.Response:
        return await self.ask("DELETE", f"/v1/conversations/{other.user_id}/messages/{message_id}")

    async def messages(self, other: "Person", **query: int) -> list[Json]:
        return items(await self.get(f"/v1/conversations/{other.user_id}/messages", params=query))

    async def sees(self, other: "Person", sequence: int) -> httpx.Response:
        return await self.ask("PUT", f"/v1/conversations/{other.user_id}/seen", json={"sequence": sequence})

    async def conversation(self, other: "Person") -> Json | None:
        """The row of the list that is about the other."""
        rows = items(await self.get("/v1/conversations", params={"limit": 200}))
        return next((row for row in rows if row["user_id"] == other.user_id), None)

    async def friends(self, state: str = "accepted") -> dict[str, Json]:
        rows = items(await self.get("/v1/friends", params={"state": state, "limit": 200}))
        return {row["user_id"]: row for row in rows}


class Api:
    """The system as those see it who have no account yet."""

    def __init__(self, system: System, http: httpx.AsyncClient) -> None:
        self.system = system
        self.http = http
        self._mailbox = _mailbox(system.data_dir / "mail")

    @property
    def sealed(self) -> SealedPositions:
        """Positions as the system's clients get them, with the keys that it has now."""
        terms = KeyTerms(lead=timedelta(seconds=600), life=timedelta(seconds=900))
        folder = self.system.settings.get("VESTNIK_SECRETS_DIR", self.system.data_dir / "secrets")
        return SealedPositions(PositionKeys(Path(folder), terms))

    def registration(self, **changed: object) -> Json:
        """A registration with a unique address and username."""
        name = f"u{next(_NUMBERS)}_{uuid4().hex[:10]}"
        return {"email": f"{name}@example.org", "username": name, "password": PASSWORD, **changed}

    async def register(self, **changed: object) -> Json:
        response = await self.http.post("/v1/users", json=self.registration(**changed))
        assert response.status_code == 201, response.text
        account: Json = response.json()
        return account

    async def mailed_token(self, email: str, *known: str) -> str:
        """The newest token mailed to the address, other than those known."""
        token = await self._mailbox.token(email, timeout=60, other_than=frozenset(known))
        assert token is not None, f"no mail to {email}"
        return token

    def mails(self) -> list[Path]:
        return sorted((self.system.data_dir / "mail").glob("*.eml"))

    def mails_to(self, email: str) -> list[str]:
        """The texts of the mails to the address, the oldest first."""
        return [text for text in map(_text, self.mails()) if f"To: {email}\n" in text]

    def messages_to(self, email: str) -> list[EmailMessage]:
        """The mails to the address as a mail program reads them, the oldest first."""
        return [_message(path) for path in self.mails() if _recipient(path) == email]

    async def mail_to(self, email: str, subject: str) -> str:
        """The newest mail to the address with such a subject; empty while there is none."""
        return next((text for text in reversed(self.mails_to(email)) if f"Subject: {subject}" in text), "")

    async def verify(self, email: str) -> str:
        token = await self.mailed_token(email)
        response = await self.http.post("/v1/users/verify-email", json={"token": token})
        assert response.status_code == 204, response.text
        return token

    async def log_in(self, login: str, password: str = PASSWORD, **more: str) -> httpx.Response:
        return await self.http.post("/v1/sessions", json={"login": login, "password": password, **more})

    async def again(self, person: Person, **more: str) -> Person:
        """The same person with another session."""
        response = await self.log_in(person.email, **more)
        assert response.status_code == 201, response.text
        account = {"user_id": person.user_id, "username": person.username, "email": person.email}
        return self._logged_in(account, response)

    async def person(self, **changed: object) -> Person:
        """Creates a user who is verified, logged in, and known to every service."""
        account = await self.register(**changed)
        await self.verify(account["email"])
        response = await self.log_in(account["email"], str(changed.get("password", PASSWORD)))
        assert response.status_code == 201, response.text
        person = self._logged_in(account, response)

        async def known() -> bool:
            return (await self.http.get(f"/v1/profiles/{person.user_id}")).status_code == 200

        await eventually(known, f"the profile of {person.username}")
        return person

    def _logged_in(self, account: Json, response: httpx.Response) -> Person:
        person = Person(self.http, account, response.json(), self.sealed)
        person.written = self.sealed.open(response.headers.get("Vestnik-Position", ""))
        return person

    async def people(self, number: int) -> list[Person]:
        return list(await asyncio.gather(*(self.person() for _ in range(number))))

    async def friends(self) -> tuple[Person, Person]:
        """Two users who are friends."""
        one, other = await self.people(2)
        await self.befriend(one, other)
        return one, other

    async def befriend(self, one: Person, other: Person) -> None:
        async def asked() -> bool:
            response = await one.add(other)
            # 503: a test before has just killed a part of the system.
            assert response.status_code in {200, 201, 404, 503}, response.text
            return response.status_code not in {404, 503}

        await eventually(asked, f"{other.username} known to contact")
        response = await other.add(one)
        assert response.status_code == 200, response.text
        # The first hears of it from the other: another person's write is visible at once only to who knows of it.
        one.written = one.written.merge(other.written)
        assert response.json() == {"user_id": one.user_id, "state": "accepted"}


# A shared system has mails by the thousand, and a mail is written once: each is read once.


@cache
def _mailbox(folder: Path) -> Mailbox:
    return Mailbox(folder)


@cache
def _text(mail: Path) -> str:
    return mail.read_text()


@cache
def _message(mail: Path) -> EmailMessage:
    return message_from_bytes(mail.read_bytes(), policy=default)


@cache
def _recipient(mail: Path) -> str:
    return str(_message(mail)["To"])
