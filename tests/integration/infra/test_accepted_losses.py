"""A loss is given up by an operator, with the login that may change a stream, and only where there is one."""

from pathlib import Path

import pytest

from contracts.services import OPERATOR
from contracts.subjects import CONTACT, MESSAGING, conversation
from infra.cli.accounts.audit_rows import warn_of_losses
from infra.cli.system.accepted_losses import NotLost, accept_losses
from infra.security.secrets import MissingSecret
from streams.jetstream.api import JetStream
from streams.loss.missing_events import Gap, accepted
from tests.damage import flip_a_byte
from tests.integration.infra.nats_parties import parties, settings_of


async def test_a_loss_is_recorded_in_its_stream_by_an_operator_and_audits_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with parties(tmp_path) as nats_parties:
        owner = await nats_parties.party("messaging")
        for text in ("one", "other"):
            await owner.ask(conversation(text), {"text": text})
        await nats_parties.server.stop()
        flip_a_byte(tmp_path / "nats", MESSAGING, b'"other"')
        await nats_parties.server.start()
        operator = (await nats_parties.party(OPERATOR)).nats
        settings = settings_of(nats_parties, tmp_path)
        for there in (Gap(MESSAGING, 1, 1), Gap(MESSAGING, 1, 2), Gap(MESSAGING, 3, 3), Gap(CONTACT, 1, 1)):
            with pytest.raises(NotLost):
                await accept_losses(settings, operator, [Gap(MESSAGING, 2, 2), there])
        assert accepted((await JetStream(operator).info(MESSAGING)).config) == []
        for _ in range(2):
            await accept_losses(settings, operator, [Gap(MESSAGING, 2, 2)])
        (decision,) = accepted((await JetStream(operator).info(MESSAGING)).config)
        assert (decision.first, decision.last) == (2, 2)
        await warn_of_losses(operator, (MESSAGING, CONTACT))
        assert capsys.readouterr().err == "the audit is incomplete, these events are lost: MESSAGING:2\n"
        await warn_of_losses(operator, (CONTACT,))
        assert capsys.readouterr().err == ""
        (tmp_path / "secrets" / "nats-topology.password").unlink()
        with pytest.raises(MissingSecret):
            await accept_losses(settings, operator, [Gap(MESSAGING, 2, 2)])
