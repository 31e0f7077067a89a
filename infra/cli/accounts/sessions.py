"""`vestnik sessions`: ends sessions of users, and records which operator did it."""

import asyncio
import sys

import click
import msgspec
from nats.aio.client import Client as NATS

from contracts.rpc.vestnik.session.v1 import EndSessionsRequest, EndSessionsResponse, SessionServiceStub
from contracts.services import OPERATOR
from contracts.values.ids import is_id
from infra.cli.accounts.user_lookup import NoSuchUser, events_of
from infra.cli.actions.identity import Reason, actor
from infra.cli.actions.recording import acting
from infra.cli.reader_connection import connect_reader
from infra.rpc.client import Client
from infra.runtime.run_file import with_running_addresses
from infra.security.secrets import Secrets
from infra.settings import Settings
from streams.log import Log

_TIMEOUT = 10.0
_PATIENCE = 5.0
# In characters, as the session service accepts a note.
_LONGEST_REASON = 200


class Ended(msgspec.Struct, frozen=True):
    user_id: str
    # Ids of the sessions that ended.
    ended: list[str]


@click.group()
def sessions() -> None:
    """Ends sessions of users."""


@sessions.command()
@click.option("--user", required=True, metavar="USER", help="The user: an id or a username.")
@click.option("--session", "session_id", metavar="ID", help="Only this session; default: all sessions of the user.")
@click.option(
    "--reason",
    type=Reason(_LONGEST_REASON),
    required=True,
    help="The reason, shown in the audit; at most 200 characters.",
)
@click.option("--by", metavar="NAME", help="Who ends them; default: the user logged in to this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def revoke(user: str, session_id: str | None, reason: str, by: str | None, as_json: bool) -> None:
    """Ends a user's sessions: every gateway refuses their tokens within a second.

    It needs the operator's key from the secrets folder, which permits ending sessions, but not creating them.
    """
    user, session_id = user.strip().lower(), None if session_id is None else session_id.strip().lower()
    if session_id is not None and not is_id(session_id):
        raise click.BadParameter(f"{session_id!r} is not the id of a session", param_hint="--session")
    request = EndSessionsRequest(
        session_id=session_id or "",
        reason=OPERATOR,
        note=reason,
        operator=actor(by).name,
    )
    answer = asyncio.run(_end(with_running_addresses(Settings.load()), user, request, by))
    if as_json:
        sys.stdout.write(msgspec.json.encode(Ended(answer.user_id, list(answer.ended))).decode() + "\n")
        return
    for ended in answer.ended:
        click.echo(ended)
    count = len(answer.ended)
    click.echo(f"{count or 'no'} session{'' if count == 1 else 's'} of {user} ended", err=True)


async def _end(settings: Settings, user: str, request: EndSessionsRequest, by: str | None) -> EndSessionsResponse:
    nc = await connect_reader(settings, "operator-sessions", patience=_PATIENCE)
    client = Client("session", me=OPERATOR, settings=settings, secrets=Secrets.load(settings.secrets_path))
    try:
        stub = client.stub(SessionServiceStub)
        request.user_id = user if is_id(user) else await _id_of(nc, settings, user)
        target, details = request.user_id, {"session": request.session_id}
        async with acting(settings, nc, "sessions.revoke", by=by, target=target, details=details, reason=request.note):
            answer = await client.call(stub.end_sessions, request, timeout=_TIMEOUT, idempotent=True)
            if not answer.ended and not (await events_of(Log(nc, patience=_PATIENCE), settings, target))[1]:
                raise NoSuchUser(user)
            return answer
    finally:
        client.close()
        await nc.close()


async def _id_of(nc: NATS, settings: Settings, username: str) -> str:
    """
    Raises:
        NoSuchUser: there is no account with this username.
        MissingSecret: the secrets folder lacks the key for looking up names; an id works without it.
    """
    user_id, _ = await events_of(Log(nc, patience=_PATIENCE), settings, username)
    if not user_id:
        raise NoSuchUser(username)
    return user_id
