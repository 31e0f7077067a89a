"""Users of a running system, created over HTTP for a measurement: registered, verified, logged in."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import aiohttp
import msgspec

from infra.load.mail_folder import Mailbox
from tests.fix_system import System

PASSWORD = "correct horse battery"


class Login(msgspec.Struct):
    """A session's tokens."""

    username: str
    session_id: str
    access_token: str
    refresh_token: str
    device_token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access_token}"}


@contextmanager
def started(settings: Mapping[str, str], *, replicas: int) -> Iterator[System]:
    """A system of its own, on an empty folder."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        system = System(Path(folder) / "data", replicas=replicas, settings=settings)
        try:
            system.start()
            yield system
        finally:
            system.stop()


@asynccontextmanager
async def client(base_url: str) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(base_url, connector=connector, timeout=timeout) as http:
        yield http


async def people(system: System, http: aiohttp.ClientSession, count: int, *, in_flight: int = 8) -> list[str]:
    """Creates users who can log in; returns their usernames."""
    mailbox, turns = Mailbox(system.data_dir / "mail"), asyncio.Semaphore(in_flight)

    async def one() -> str:
        name = f"u{uuid4().hex[:12]}"
        email = f"{name}@example.org"
        async with turns:
            body = {"email": email, "username": name, "password": PASSWORD}
            await _posted(http, "/v1/users", body)
            token = await mailbox.token(email, timeout=30)
            await _posted(http, "/v1/users/verify-email", {"token": token})
        return name

    return list(await asyncio.gather(*(one() for _ in range(count))))


async def log_in(http: aiohttp.ClientSession, username: str, device_token: str = "") -> Login:
    """Logs in; `device_token`: of an earlier login; empty: a new device, of which the account's owner is alerted."""
    device = {"device_token": device_token} if device_token else {}
    body = await _posted(http, "/v1/sessions", {"login": username, "password": PASSWORD, **device})
    return msgspec.convert({**msgspec.json.decode(body), "username": username}, Login)


async def refresh(http: aiohttp.ClientSession, login: Login) -> None:
    body = await _posted(http, "/v1/sessions/refresh", {"refresh_token": login.refresh_token})
    tokens = msgspec.json.decode(body)
    login.access_token, login.refresh_token = tokens["access_token"], tokens["refresh_token"]


async def _posted(http: aiohttp.ClientSession, path: str, body: object) -> bytes:
    async with http.post(path, json=body) as answer:
        content = await answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{path}: {answer.status} {content[:200]!r}")
        return content
