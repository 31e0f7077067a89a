"""Accounts: an address and a username belong to one, and each registration's mail is sent, once."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.faults.checker.finding import Bounds, Finding
from tests.faults.history import VERIFICATION, History, Mail, Outcome


def shared_addresses(history: History, _: Bounds) -> Iterator[Finding]:
    """One account logs in with an address, and one does if any registration was verified."""
    owners: dict[str, set[str]] = defaultdict(set)
    for request in history.requests("log_in"):
        if request.outcome is Outcome.OK:
            owners[request.arguments["email"]].add(request.answer["user_id"])
    for email, users in owners.items():
        if len(users) > 1:
            yield Finding("accounts.shared_addresses", f"{email} belongs to {', '.join(sorted(users))}")
    verified = {request.arguments["email"] for request in history.requests("verify") if request.outcome is Outcome.OK}
    tried = {request.arguments["email"] for request in history.requests("log_in") if request.outcome is Outcome.REFUSED}
    for email in sorted((verified & tried) - set(owners)):
        yield Finding("accounts.shared_addresses", f"{email} was verified, and no account can log in with it")


def shared_usernames(history: History, _: Bounds) -> Iterator[Finding]:
    """A username is registered once while its registration lasts."""
    owners: dict[str, set[str]] = defaultdict(set)
    for request in history.requests("register"):
        if request.outcome is Outcome.OK:
            owners[request.arguments["username"]].add(request.answer["user_id"])
    for username, users in owners.items():
        if len(users) > 1:
            yield Finding("accounts.shared_usernames", f"{username} belongs to {', '.join(sorted(users))}")


def mails_never_sent(history: History, _: Bounds) -> Iterator[Finding]:
    """An address that was registered gets a mail to verify it."""
    mailed = {mail.address for mail in history.of(Mail) if mail.kind == VERIFICATION}
    registered = {
        request.arguments["email"] for request in history.requests("register") if request.outcome is Outcome.OK
    }
    for email in sorted(registered - mailed):
        yield Finding("accounts.mails_never_sent", f"{email} was registered and got no mail")


def mails_sent_twice(history: History, bounds: Bounds) -> Iterator[Finding]:
    """A registration's mail is sent once; a crash may repeat it with the same Message-ID."""
    mails = [mail for mail in history.of(Mail) if mail.kind == VERIFICATION]
    identities: dict[str, set[str]] = defaultdict(set)
    for mail in mails:
        for token in mail.tokens:
            identities[token].add(mail.message_id)
    addresses = {token: mail.address for mail in mails for token in mail.tokens}
    for token, message_ids in identities.items():
        if len(message_ids) > 1:
            yield Finding("accounts.mails_sent_twice", f"{addresses[token]} got one token in {sorted(message_ids)}")
    attempts = Counter(
        request.arguments["email"] for request in history.requests("register") if request.outcome is not Outcome.REFUSED
    )
    different = {(mail.address, mail.message_id) for mail in mails}
    for address, count in Counter(address for address, _ in different).items():
        if count > attempts[address]:
            yield Finding(
                "accounts.mails_sent_twice", f"{address} got {count} mails for {attempts[address]} registrations"
            )
    if not bounds.mails_may_repeat:
        for message_id, count in Counter(mail.message_id for mail in mails).items():
            if count > 1:
                yield Finding("accounts.mails_sent_twice", f"the mail {message_id} was sent {count} times")
