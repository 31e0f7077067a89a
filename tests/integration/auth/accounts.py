"""Accounts for tests, made by a replica of auth, and changes of their addresses."""

import msgspec

from contracts.envelope import Provenance
from contracts.errors import VestnikError
from contracts.positions import Position
from services.auth.commands import Registered
from services.auth.registration.decisions import as_of
from services.auth.tokens.email_change_undo import EmailChangeUndo
from tests.integration.auth.no_sessions import NoSessions
from tests.integration.auth_and_session import PASSWORD, Auth

# Of requests whose caller is not logged in.
NO_ACTOR = Provenance(correlation_id="request")


async def register(auth: Auth, email: str, username: str, password: str = PASSWORD) -> Registered:
    return await auth.commands.register(
        email=email, username=username, password=password, display_name=None, provenance=NO_ACTOR
    )


async def verify(auth: Auth, token: str) -> None:
    await auth.commands.verify_email(token, NO_ACTOR)


async def log_in(auth: Auth, login: str, password: str = PASSWORD) -> str:
    """Logs in; returns the user's id, or the code of the error."""
    try:
        logged_in = await auth.login(NoSessions()).login(login=login, password=password, device="", address="")
    except VestnikError as error:
        return error.code
    return logged_in.tokens.user_id


class Account(msgspec.Struct):
    """An account with the address that its read model shows."""

    user_id: str
    email: str

    async def own_address(self, user_id: str, position: Position) -> str:
        return self.email


async def account(auth: Auth, name: str) -> Account:
    email = f"{name}@example.org"
    user = await register(auth, email, name)
    await auth.commands.verify_email(await auth.token(email), NO_ACTOR)
    return Account(user.user_id, email)


async def request(auth: Auth, who: Account, email: str, password: str = PASSWORD) -> str:
    """Requests a change; returns the token that the mail to the new address would contain."""
    await auth.email_changes.request(
        user_id=who.user_id,
        email=email,
        password=password,
        own_address=who.own_address,
        position=Position(),
        provenance=NO_ACTOR,
    )
    return await auth.token(email)


async def change(auth: Auth, who: Account, email: str) -> None:
    await auth.commands.verify_email(await request(auth, who, email), NO_ACTOR, password=PASSWORD)


async def undo_token(auth: Auth, who: Account, email: str) -> str:
    """The token in the mail to an address that the account has left."""
    key = auth.keys.of_email(email)
    until = (await auth.aggregates.addresses.load(key)).state.owner_until
    assert until is not None
    return auth.undos.sign(EmailChangeUndo(user_id=who.user_id, claim_key=key, until=until))


async def undo(auth: Auth, token: str) -> None:
    await auth.email_undo(NoSessions()).undo(token, NO_ACTOR)


async def owner(auth: Auth, email: str) -> str | None:
    return as_of((await auth.aggregates.addresses.load(auth.keys.of_email(email))).state, auth.clock()).owner
