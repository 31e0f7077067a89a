"""The mails of a run: each is recorded, and tokens wait here for those who need them."""

import asyncio
import re
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

from services.auth.mail.mailbox_budgets import VERIFICATION_MAIL
from services.auth.mail.texts import text_of
from tests.faults.history import VERIFICATION, Mail, digest, now
from tests.faults.recording import Recorder

_TOKEN = re.compile(r"^Token: (\S+)\s*$", re.MULTILINE)
_VERIFICATION_SUBJECT = text_of(VERIFICATION_MAIL, "en").subject
_LOOK_EVERY = 0.1


class Mails:
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        # By address; the oldest first.
        self._tokens: dict[str, list[str]] = {}
        self._arrived = asyncio.Condition()

    async def add(self, message: EmailMessage) -> None:
        """Takes a mail as the mail server got it."""
        address = message["To"].addresses[0].addr_spec
        text = message.get_body(("plain",))
        assert text is not None
        tokens = _TOKEN.findall(text.get_content())
        is_verification = message["Subject"] == _VERIFICATION_SUBJECT
        self._recorder.add(
            Mail(
                address=address,
                message_id=str(message["Message-ID"]),
                kind=VERIFICATION if is_verification else str(message["Subject"]),
                tokens=[digest(token) for token in tokens],
                received=now(),
            )
        )
        if is_verification:
            async with self._arrived:
                known = self._tokens.setdefault(address, [])
                known += [token for token in tokens if token not in known]
                self._arrived.notify_all()

    async def verification_tokens(self, address: str, number: int) -> list[str]:
        """Waits for so many different tokens to verify the address with."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self._tokens.get(address, [])) >= number)
            return self._tokens[address]

    async def watch(self, folder: Path) -> None:
        """Takes the mails that a system without a mail server writes to a folder, until it is cancelled."""
        seen: set[str] = set()
        while True:
            for path in sorted(folder.glob("*.eml")):
                if path.name not in seen:
                    seen.add(path.name)
                    message = message_from_bytes(path.read_bytes(), policy=default)
                    assert isinstance(message, EmailMessage)
                    await self.add(message)
            await asyncio.sleep(_LOOK_EVERY)
