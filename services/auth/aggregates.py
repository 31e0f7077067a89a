"""Where auth's aggregates are loaded from: one repository a kind, shared by commands, login and reactions."""

from contracts import subjects
from services.auth import domain
from streams.log import Log
from streams.repository import Repository


class Aggregates:
    def __init__(self, log: Log) -> None:
        self.log = log
        self.email_claims = Repository(
            log, subject=subjects.email_claim, initial=domain.EmailClaim(), evolve=domain.evolve_email_claim
        )
        self.username_claims = Repository(
            log, subject=subjects.username_claim, initial=domain.UsernameClaim(), evolve=domain.evolve_username_claim
        )
        self.credentials = Repository(
            log,
            subject=subjects.credential,
            initial=domain.Credential(),
            evolve=domain.evolve_credential,
            tail_only=True,
        )
        self.users = Repository(log, subject=subjects.user, initial=domain.User(), evolve=domain.evolve_user)
        self.mails = Repository(log, subject=subjects.mail, initial=domain.Mails(), evolve=domain.evolve_mails)
