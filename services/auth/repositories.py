"""Repositories of auth's aggregates, one per kind, shared by commands, login and reactions."""

from contracts import subjects
from contracts.events.second_factor import SecondFactorState
from contracts.events.user import AddressState
from services.auth import domain
from services.auth.data_export import domain as data_export
from services.auth.data_keys.rings import key_rings
from services.auth.failures import domain as failures
from services.auth.mail import mailbox_budgets
from services.auth.registration import decisions
from services.auth.second_factor import domain as second_factor
from streams.log import Log
from streams.repository import Repository


class Aggregates:
    def __init__(self, log: Log) -> None:
        self.log = log
        self.addresses = Repository(
            log,
            subject=subjects.email_claim,
            initial=AddressState(),
            evolve=decisions.evolve_address,
            carries_state=decisions.carries_state,
        )
        self.usernames = Repository(
            log,
            subject=subjects.username_claim,
            initial=decisions.Username(),
            evolve=decisions.evolve_username,
            tail_only=True,
        )
        self.credentials = Repository(
            log,
            subject=subjects.credential,
            initial=domain.Credential(),
            evolve=domain.evolve_credential,
            tail_only=True,
        )
        self.second_factors = Repository(
            log,
            subject=subjects.second_factor,
            initial=SecondFactorState(),
            evolve=second_factor.evolve,
            tail_only=True,
        )
        self.users = Repository(log, subject=subjects.user, initial=domain.User(), evolve=domain.evolve_user)
        self.data_exports = Repository(
            log, subject=subjects.data_export, initial=data_export.DataExports(), evolve=data_export.evolve
        )
        self.data_keys = key_rings(log)
        # Keyed by mailbox.
        self.mails = Repository(
            log, subject=subjects.mail, initial=mailbox_budgets.Mailbox(), evolve=mailbox_budgets.evolve_mailbox
        )
        # Keyed by user id; one for all logins that no account has.
        self.login_failures = Repository(
            log,
            subject=subjects.login_failures,
            initial=failures.LoginFailures(),
            evolve=failures.evolve_login_failures,
            tail_only=True,
        )
