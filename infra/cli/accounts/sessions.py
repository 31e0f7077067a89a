"""`vestnik sessions`: ends sessions of users, and records which operator did it."""

import asyncio
import getpass
import os
import sys

import click
import msgspec

from contracts.rpc.vestnik.session.v1 import EndSessionsRequest, EndSessionsResponse, SessionServiceStub
from contracts.services import OPERATOR
from contracts.values.ids import is_id
from infra.rpc.client import Client
from infra.runtime.run_file import with_running_addresses
from infra.security.secrets import Secrets
from infra.settings import Settings

_TIMEOUT = 10.0


class Ended(msgspec.Struct, frozen=True):
    user_id: str
    # Ids of the sessions that ended.
    ended: list[str]


@click.group()
def sessions() -> None:
    """Ends sessions of users."""


@sessions.command()
@click.option("--user", required=True, metavar="USER", help="Whose sessions: an id or a username.")
@click.option("--session", "session_id", metavar="ID", help="Only this session; all of the user's if left out.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; the audit shows it. 200 characters at most.")
@click.option("--by", metavar="NAME", help="Who does it; whoever is logged in to this machine if left out.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def revoke(user: str, session_id: str | None, reason: str, by: str | None, as_json: bool) -> None:
    """Ends a user's sessions: every gateway refuses their tokens within a second.

    It needs the key of the operator from the folder of secrets. Who has it may log everybody out and nobody in.
    """
    user = user.strip().lower()
    if session_id is not None and not is_id(session_id):
        raise click.BadParameter(f"{session_id!r} is no session's id", param_hint="--session")
    request = EndSessionsRequest(
        user_id=user if is_id(user) else None,
        username=None if is_id(user) else user,
        session_id=session_id or "",
        reason=OPERATOR,
        note=reason,
        operator=by or os.environ.get("SUDO_USER") or getpass.getuser(),
    )
    answer = asyncio.run(_end(with_running_addresses(Settings.load()), request))
    if as_json:
        sys.stdout.write(msgspec.json.encode(Ended(answer.user_id, list(answer.ended))).decode() + "\n")
        return
    for ended in answer.ended:
        click.echo(ended)
    count = len(answer.ended)
    click.echo(f"{count or 'no'} session{'' if count == 1 else 's'} of {user} ended", err=True)


async def _end(settings: Settings, request: EndSessionsRequest) -> EndSessionsResponse:
    client = Client("session", me=OPERATOR, settings=settings, secrets=Secrets.load(settings.secrets_path))
    try:
        stub = client.stub(SessionServiceStub)
        return await client.call(stub.end_sessions, request, timeout=_TIMEOUT, idempotent=True)
    finally:
        client.close()
