"""A client: a sequence of requests to any of the gateways, each recorded, and repeated until it is answered."""

import asyncio
from random import uniform

import httpx
import msgspec

from tests.faults.clients import calls
from tests.faults.clients.calls import Call
from tests.faults.clients.gateways import Gateways
from tests.faults.history import Json, Outcome, Request, now, outcome_of

BROKEN = (httpx.HTTPError, OSError, TimeoutError)
PAUSE = 0.2
POSITION = "Vestnik-Position"
_UNAUTHENTICATED = (401, "unauthenticated")
_TOO_MANY = 429


class Backoff:
    """Pauses between attempts, each twice as long as the one before, so that an outage is not made longer by them."""

    def __init__(self, longest: float = 1.0) -> None:
        self._longest = longest
        self.reset()

    def reset(self) -> None:
        self._pause = PAUSE

    async def wait(self) -> None:
        await asyncio.sleep(self._pause * uniform(0.75, 1.25))
        self._pause = min(2 * self._pause, self._longest)


class Session:
    """A session of an account, with its present tokens."""

    def __init__(self, body: Json) -> None:
        """Takes the session from the response to a login."""
        self.user_id: str = body["user_id"]
        self.session_id: str = body["session_id"]
        self.access_token: str = body["access_token"]
        self.refresh_token: str = body["refresh_token"]
        self._renewal = asyncio.Lock()

    async def renew(self, gateways: Gateways, spent: str) -> bool:
        """Gets new tokens in place of the spent access token; returns whether the session goes on."""
        async with self._renewal:
            if self.access_token != spent:
                return True
            visitor = Client(gateways, f"renewal of {self.session_id}")
            answer = await visitor.repeat(calls.refresh(self.session_id, self.refresh_token))
            if answer.is_ok:
                self.access_token = answer.body["access_token"]
                self.refresh_token = answer.body["refresh_token"]
            return answer.is_ok


class Answer(msgspec.Struct, frozen=True):
    """What came back; a status of 0: nothing, and `code` is the error."""

    status: int
    code: str = ""
    body: Json = {}
    request_id: str = ""
    retry_after: str = ""
    position: str = ""

    @property
    def is_expired_token(self) -> bool:
        return (self.status, self.code) == _UNAUTHENTICATED

    @property
    def is_final(self) -> bool:
        """Whether a repetition would be answered the same."""
        return outcome_of(self.status) is not Outcome.UNKNOWN and self.status != _TOO_MANY

    @property
    def is_ok(self) -> bool:
        return outcome_of(self.status) is Outcome.OK


class Client:
    """Makes one request after the other. `session`: whose requests; without one a visitor's.

    It sends along the position of its last write, so that its reads must show that; a client that only reads sends the
    position of the last list, which it must not see less than.
    """

    def __init__(self, gateways: Gateways, name: str, session: Session | None = None) -> None:
        self.gateways = gateways
        self.name = name
        self.session = session
        self.position = ""
        self._has_written = False

    async def repeat(self, call: Call) -> Answer:
        """Repeats the request until it succeeds or is refused permanently; renews the session's tokens if necessary."""
        backoff = Backoff()
        while True:
            token = self.session.access_token if self.session else ""
            answer = await self.attempt(call)
            if answer.is_expired_token and self.session is not None:
                if not await self.session.renew(self.gateways, token):
                    return answer
            elif answer.is_final:
                return answer
            await backoff.wait()

    async def attempt(self, call: Call) -> Answer:
        target, http = self.gateways.next()
        position, started = self.position, now()
        headers = {POSITION: position} if position else {}
        if self.session is not None:
            headers["Authorization"] = f"Bearer {self.session.access_token}"
        try:
            answer = _answer(await http.request(call.method, call.path, json=call.body, headers=headers))
        except BROKEN as error:
            answer = Answer(0, type(error).__name__)
        self.record(call, answer, target.url, started, position)
        self.advance(answer, is_write=call.method != "GET")
        return answer

    def advance(self, answer: Answer, *, is_write: bool) -> None:
        """Takes the position of an answer."""
        if answer.is_ok and answer.position and (is_write or not self._has_written):
            self.position = answer.position
            self._has_written |= is_write

    def record(
        self, call: Call, answer: Answer, target: str, started: float, position: str, transport: str = "rest"
    ) -> None:
        session = self.session
        session_id = session.session_id if session else call.session_id
        recorder = self.gateways.recorder if session_id else self.gateways.visitors
        recorder.add(
            Request(
                client=self.name,
                user_id=session.user_id if session else "",
                session_id=session_id,
                operation=call.operation,
                arguments=call.arguments,
                transport=transport,
                target=target,
                started=started,
                ended=now(),
                outcome=outcome_of(answer.status),
                status=answer.status,
                code=answer.code,
                answer=call.summary(answer.body) if answer.is_ok else {},
                request_id=answer.request_id,
                retry_after=answer.retry_after,
                sent_position=position,
                position=answer.position,
            )
        )


def _answer(response: httpx.Response) -> Answer:
    body = _object(response.content)
    return Answer(
        status=response.status_code,
        code="" if response.is_success else str(body.get("code", "")),
        body=body,
        request_id=response.headers.get("X-Request-Id", ""),
        retry_after=response.headers.get("Retry-After", ""),
        position=response.headers.get(POSITION, ""),
    )


def _object(content: bytes) -> Json:
    """The object of a body; empty where there is none, or a proxy's page."""
    try:
        return msgspec.json.decode(content, type=Json)
    except msgspec.DecodeError:
        return {}
