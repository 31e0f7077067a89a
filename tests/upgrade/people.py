"""People who use the system while it is upgraded: each acts as a client does, through both gateways in turn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from infra.load.mail_folder import Mailbox
from tests.upgrade.gateways import Failed, Gateways

PASSWORD = "correct horse battery"
Json = dict[str, Any]
_MAIL_WITHIN = 300.0
_PAGE = 100


class Person:
    """A user with a session, and what the system has acknowledged to them."""

    def __init__(self, gateways: Gateways, name: str) -> None:
        self._gateways = gateways
        self.name = name
        self.user_id = ""
        self._session: Json = {}
        self._device_token = ""
        # Of the last write: sent with every request, so that the other gateway answers with it.
        self._position = ""
        # Text by message id, in the order in which they were acknowledged.
        self.acknowledged: dict[str, str] = {}

    @property
    def access_token(self) -> str:
        return str(self._session["access_token"])

    async def register(self, mailbox: Mailbox) -> None:
        """Registers, verifies the address and logs in."""
        email = f"{self.name}@example.org"
        account = {"email": email, "username": self.name, "password": PASSWORD}
        await self._gateways.request("POST", "/v1/users", 201, json=account)
        token = await mailbox.token(email, timeout=_MAIL_WITHIN)
        assert token is not None, f"no mail to {email}"
        await self._gateways.request("POST", "/v1/users/verify-email", 204, json={"token": token})
        await self.log_in()

    async def log_in(self) -> None:
        """Starts a session, which replaces the current one here without ending it."""
        body = {"login": self.name, "password": PASSWORD}
        if self._device_token:
            body["device_token"] = self._device_token
        response = await self._gateways.request("POST", "/v1/sessions", 201, json=body)
        self._session = response.json()
        self._device_token = self._session["device_token"]
        self.user_id = self._session["user_id"]
        self._position = response.headers.get("Vestnik-Position", self._position)

    async def refresh(self) -> None:
        body = {"refresh_token": self._session["refresh_token"]}
        self._session |= (await self._gateways.request("POST", "/v1/sessions/refresh", 200, json=body)).json()

    async def ask(self, method: str, path: str, expected: int, **options: Any) -> httpx.Response:  # noqa: ANN401
        """
        Raises:
            Failed: the answer is not the expected one.
        """
        headers = {"Authorization": f"Bearer {self.access_token}"}
        if self._position:
            headers["Vestnik-Position"] = self._position
        response = await self._gateways.request(method, path, expected, headers=headers, **options)
        if method != "GET":
            self._position = response.headers.get("Vestnik-Position", self._position)
        return response

    async def items(self, path: str) -> list[Json]:
        return list((await self.ask("GET", path, 200)).json()["items"])

    async def befriend(self, other: "Person") -> None:
        await self.ask("PUT", f"/v1/friends/{other.user_id}", 201)
        await other.ask("PUT", f"/v1/friends/{self.user_id}", 200)

    async def messages(self, other: "Person") -> list[Json]:
        """The whole conversation, in order."""
        messages: list[Json] = []
        while True:
            after = messages[-1]["sequence"] if messages else 0
            page = await self.items(f"/v1/conversations/{other.user_id}/messages?after={after}&limit={_PAGE}")
            messages += sorted(page, key=lambda message: int(message["sequence"]))
            if not page:
                return messages

    async def talk(self, other: "Person", pause: float) -> None:
        """Sends messages to a friend and reads them back, edits, reacts and sees, until the traffic stops."""
        number, path = 0, f"/v1/conversations/{other.user_id}"
        while await self._gateways.go_on(pause):
            number += 1
            with suppress(Failed):
                text = f"{self.name} {number}"
                body = {"text": text, "client_message_id": str(number)}
                sent = (await self.ask("POST", f"{path}/messages", 201, json=body)).json()
                self.acknowledged[sent["message_id"]] = text
                page = await self.items(f"{path}/messages?limit=20")
                if sent["message_id"] not in [message["message_id"] for message in page]:
                    self._gateways.failed(f"{self.name} does not read back message {sent['sequence']}: {page}")
                if number % 3 == 0:
                    await self._edit(path, sent["message_id"], f"{text}, edited")
                theirs = [message for message in page if message["sender_id"] == other.user_id]
                if theirs:
                    newest = max(theirs, key=lambda message: int(message["sequence"]))
                    reaction = f"{path}/messages/{newest['message_id']}/reaction"
                    await self.ask("PUT", reaction, 204, json={"emoji": "👍" if number % 2 else "🎉"})
                    await self.ask("PUT", f"{path}/seen", 204, json={"sequence": newest["sequence"]})
                await self.ask("GET", "/v1/conversations", 200)
                await self.ask("GET", "/v1/notifications/unread", 200)

    async def _edit(self, path: str, message_id: str, text: str) -> None:
        await self.ask("PATCH", f"{path}/messages/{message_id}", 200, json={"text": text})
        self.acknowledged[message_id] = text

    async def come_and_go(self, pause: float) -> None:
        """Keeps the session by refreshing it, and now and then logs in once more and out of that session."""
        number = 0
        while await self._gateways.go_on(pause):
            number += 1
            with suppress(Failed):
                await self.refresh()
                if number % 3 == 0:
                    other = Person(self._gateways, self.name)
                    other._device_token = self._device_token
                    await other.log_in()
                    await other.items("/v1/sessions")
                    await other.ask("DELETE", "/v1/sessions/current", 204)

    async def meet_and_part(self, other: "Person", pause: float) -> None:
        """Becomes a friend of the other and ends it, until the traffic stops."""
        while await self._gateways.go_on(pause):
            with suppress(Failed):
                await self.befriend(other)
                self._position = other._position
                if other.user_id not in [row["user_id"] for row in await self.items("/v1/friends?state=accepted")]:
                    self._gateways.failed(f"{self.name} does not see a new friend")
                await self.ask("DELETE", f"/v1/friends/{other.user_id}", 204)


async def newcomers(gateways: Gateways, mail: Path, host: Person, pause: float) -> None:
    """New people register one after another, present themselves, and send a friend request."""
    mailbox = Mailbox(mail)
    number = 0
    while await gateways.go_on(pause):
        number += 1
        with suppress(Failed):
            newcomer = Person(gateways, f"newcomer{number}")
            await newcomer.register(mailbox)
            await newcomer.ask("PATCH", "/v1/profiles/me", 200, json={"display_name": f"Newcomer {number}"})
            shown = (await newcomer.ask("GET", f"/v1/profiles/{newcomer.user_id}", 200)).json()
            if shown["display_name"] != f"Newcomer {number}":
                gateways.failed(f"{newcomer.name} does not read back the profile: {shown}")
            await newcomer.ask("PUT", f"/v1/friends/{host.user_id}", 201)


@asynccontextmanager
async def busy(gateways: Gateways, mail: Path, pairs: list[tuple[Person, Person]]) -> AsyncIterator[None]:
    """Traffic until the context is left; then each person finishes what they are about.

    All pairs but the last are friends who write to each other; the last one meets and parts.
    """
    *friends, strangers = pairs
    async with asyncio.TaskGroup() as group:
        group.create_task(strangers[0].meet_and_part(strangers[1], 2.0))
        group.create_task(newcomers(gateways, mail, friends[0][0], 3.0))
        for one, other in friends:
            for loop in (one.talk(other, 0.5), other.talk(one, 0.5), one.come_and_go(2.0), other.come_and_go(2.0)):
                group.create_task(loop)
        try:
            yield
        finally:
            gateways.stop()
