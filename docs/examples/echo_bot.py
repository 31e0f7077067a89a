"""A bot that answers each message with the message's own text, and accepts every friend request.

    BOT_LOGIN=echo BOT_PASSWORD='…' python echo_bot.py --url http://127.0.0.1:8080

Needs Python 3.11 and the package `websockets`. docs/howto/write-a-bot.md explains it.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import urllib.error
import urllib.request
from itertools import count
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

Json = dict[str, Any]
TIMEOUT = 30.0
# Of an access token's life: then the next connection begins, with the next token.
RENEW_AFTER = 0.8
# The close code of a connection whose session has ended.
SESSION_ENDED = 4401


class Refused(Exception):
    """An answer with a status of 400 or more."""

    def __init__(self, status: int, problem: Json, retry_after: float | None) -> None:
        super().__init__(f"{status} {problem.get('code', '')}: {problem.get('detail', '')}")
        self.status = status
        self.retry_after = retry_after

    @property
    def passes(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status == 429 or self.status >= 500


class Api:
    """REST: a request is repeated for as long as the system is busy or away."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.token = ""

    async def ask(self, method: str, path: str, body: Json | None = None) -> tuple[Json, str]:
        """Returns the answer and its `Vestnik-Position`. Raises Refused if the request would be wrong again."""
        for attempt in count():
            try:
                return await asyncio.to_thread(self.send, method, path, body)
            except Refused as refused:
                if not refused.passes:
                    raise
                say(f"{method} {path}: {refused}")
                await asyncio.sleep(refused.retry_after or pause(attempt))
            except OSError as error:  # no connection, or no answer in time
                say(f"{method} {path}: {error}")
                await asyncio.sleep(pause(attempt))
        raise AssertionError

    def send(self, method: str, path: str, body: Json | None = None) -> tuple[Json, str]:
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                return json.loads(answer.read() or b"{}"), answer.headers.get("Vestnik-Position", "")
        except urllib.error.HTTPError as error:
            raise Refused(error.code, parsed(error.read()), seconds(error.headers.get("Retry-After"))) from None


class Bot:
    """One account that follows what happens to it; the file of positions remembers how far it has got."""

    def __init__(self, api: Api, login: str, password: str, position_file: Path) -> None:
        self.api = api
        self.login = login
        self.password = password
        self.position_file = position_file
        self.position = position_file.read_text() if position_file.exists() else ""
        self.session: Json = {}
        self.failures = 0

    async def run(self) -> None:
        """Follows until it is cancelled. Raises Refused if the login is refused."""
        try:
            while True:
                wait = None
                try:
                    await self.renew_token()
                    if not self.position:
                        await self.begin()
                    wait = await self.follow()
                except Refused as refused:
                    if not self.session:
                        raise
                    say(f"logging in again: {refused}")
                    self.session = {}
                except (OSError, WebSocketException) as error:
                    say(f"no line: {error!r}")
                self.failures += 1
                await asyncio.sleep(pause(self.failures) if wait is None else wait)
        finally:
            self.log_out()

    async def renew_token(self) -> None:
        """Gets the session's next access token, or a new session where there is none any more."""
        self.api.token = ""
        if self.session:
            try:
                spent = {"refresh_token": self.session["refresh_token"]}
                self.session, _ = await self.api.ask("POST", "/v1/sessions/refresh", spent)
            except Refused as refused:
                say(f"the session is over: {refused}")
                self.session = {}
        if not self.session:
            account = {"login": self.login, "password": self.password, "device": "echo bot"}
            self.session, _ = await self.api.ask("POST", "/v1/sessions", account)
            say(f"logged in as {self.session['user_id']}")
        self.api.token = self.session["access_token"]

    def log_out(self) -> None:
        if self.session:
            try:
                self.api.send("DELETE", "/v1/sessions/current")
            except (OSError, Refused) as error:
                say(f"not logged out: {error}")

    async def begin(self) -> None:
        """Accepts the requests that wait; following starts where the list of them was read, so that none is missed."""
        first = cursor = ""
        while True:
            page, position = await self.api.ask("GET", f"/v1/friends?state=incoming&cursor={cursor}")
            first = first or position
            for request in page["items"]:
                await self.accept(request["user_id"])
            cursor = page["next"]
            if not cursor:
                self.keep(first)
                return

    async def follow(self) -> float | None:
        """Follows over one connection until it ends. Returns how many seconds to wait, where that is known."""
        address = self.api.url.replace("http", "ws", 1) + f"/v1/ws?since={self.position}"
        headers = {"Authorization": f"Bearer {self.api.token}"}
        token = asyncio.timeout(self.session["expires_in"] * RENEW_AFTER)
        try:
            async with token, connect(address, additional_headers=headers) as connection:
                say("following")
                self.failures = 0
                await Line(self, connection).run()
        except TimeoutError:
            if token.expired():
                return 0
            raise
        except ConnectionClosed as closed:
            say(f"the line was closed: {closed}")
            if closed.rcvd is not None and closed.rcvd.code == SESSION_ENDED:
                self.session = {}
        except InvalidStatus as error:
            answer = error.response
            say(f"no line: {answer.status_code} {parsed(answer.body or b'').get('code', '')}")
            if answer.status_code == 422:
                self.keep("")  # the position is void, such as after a change of its key
            return seconds(answer.headers.get("Retry-After"))
        return None

    async def accept(self, user_id: str) -> None:
        try:
            await self.api.ask("PUT", f"/v1/friends/{user_id}")
            say(f"accepted {user_id}")
        except Refused as refused:
            if refused.status == 401:
                raise
            say(f"not accepted {user_id}: {refused}")

    def keep(self, position: str) -> None:
        """Writes the position to its file, whole or not at all."""
        self.position = position
        new = self.position_file.with_suffix(".new")
        new.write_text(position)
        new.replace(self.position_file)


class Line:
    """One connection. Reads whatever comes; deals with the events one after another."""

    def __init__(self, bot: Bot, connection: ClientConnection) -> None:
        self.bot = bot
        self.connection = connection
        self.events: asyncio.Queue[Json] = asyncio.Queue()
        self.answers: dict[str, asyncio.Future[Json]] = {}

    async def run(self) -> None:
        work = asyncio.create_task(self.work())
        try:
            while True:
                message = json.loads(await self.connection.recv())
                if "event" in message:
                    self.events.put_nowait(message)
                elif waiting := self.answers.pop(message["answer"] or "", None):
                    waiting.set_result(message)
        finally:
            work.cancel()
            await asyncio.wait([work])
            if not work.cancelled():
                work.result()

    async def work(self) -> None:
        try:
            while True:
                event = await self.events.get()
                await self.handle(event["event"], event["data"])
                if "id" in event:  # ephemeral events have none
                    self.bot.keep(event["id"])  # only now: what was not done comes again
        finally:
            await self.connection.close()

    async def handle(self, event: str, data: Json) -> None:
        """Ignores events of other types: there will be more of them."""
        if event == "message.sent" and data["sender_id"] != self.bot.session["user_id"]:
            await self.echo(data)
        elif event == "friendship.created" and data["state"] == "incoming":
            await self.bot.accept(data["user_id"])

    async def echo(self, message: Json) -> None:
        # The same id for the same message: the system takes a repeated answer for the one that it has.
        body = {"text": message["text"], "client_message_id": f"echo-{message['message_id']}"}
        for attempt in count():
            answer = await self.command("send", message["user_id"], body)
            if answer["status"] < 400:
                return
            refused = Refused(answer["status"], answer.get("body", {}), answer.get("retry_after"))
            if refused.status == 401:
                raise refused
            say(f"message {message['message_id']}: {refused}")
            if not refused.passes:
                return
            await asyncio.sleep(refused.retry_after or pause(attempt))

    async def command(self, name: str, user_id: str, body: Json) -> Json:
        command_id = f"{random.getrandbits(64):x}"
        waiting = self.answers[command_id] = asyncio.get_running_loop().create_future()
        command = {"id": command_id, "command": name, "user_id": user_id, "body": body}
        await self.connection.send(json.dumps(command))
        answer: Json = await waiting
        return answer


def parsed(body: bytes | bytearray) -> Json:
    """A problem document; empty where something else answered, such as a proxy."""
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def seconds(header: str | None) -> float | None:
    return float(header) if header and header.isdecimal() else None


def pause(attempt: int) -> float:
    """Grows up to half a minute, and differs between bots."""
    return min(30.0, 0.5 * (1 << min(attempt, 6))) * random.uniform(0.5, 1.0)


def say(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Answers each message with its text. BOT_PASSWORD holds the password.")
    parser.add_argument("--url", default=os.environ.get("BOT_URL", "http://127.0.0.1:8080"))
    parser.add_argument("--login", default=os.environ.get("BOT_LOGIN", "echo"), help="username or e-mail address")
    parser.add_argument("--position-file", type=Path, default=Path("echo_bot.position"))
    options = parser.parse_args()
    password = os.environ.get("BOT_PASSWORD")
    if not password:
        parser.error("BOT_PASSWORD is not set")
    try:
        asyncio.run(Bot(Api(options.url), options.login, password, options.position_file).run())
    except KeyboardInterrupt:
        say("stopped")
    except Refused as refused:
        sys.exit(f"the login is refused: {refused}")


if __name__ == "__main__":
    main()
