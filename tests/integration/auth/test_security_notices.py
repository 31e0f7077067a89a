"""Notices to the holder of an address that someone registers: merged, and none is dropped."""

import logging
from datetime import timedelta

import pytest
from nats.aio.client import Client as NATS
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from contracts.durable_consumers import SECURITY_NOTICES, VERIFICATION_MAIL
from tests.conditions import until
from tests.integration.auth.accounts import NO_ACTOR
from tests.integration.auth.mail_reactions import Recording, reacting, register, settled
from tests.integration.auth_and_session import Auth, Clock


async def test_the_holder_of_a_taken_address_gets_a_notice_and_nobody_a_token(
    replicas: tuple[Auth, Auth], streams: NATS
) -> None:
    auth, outbox = replicas[0], Recording()
    await register(auth, "anna", "Anna@example.org")
    await auth.commands.verify_email(await auth.token("anna@example.org"), NO_ACTOR)
    await register(auth, "boris", "anna@EXAMPLE.org")
    async with reacting(streams, auth, outbox):
        await settled(streams)
    (mail,) = outbox.sent
    assert (mail.kind, mail.recipient, mail.username, mail.offers) == (
        "address_taken",
        "Anna@example.org",
        "anna",
        (),
    )


async def test_notices_to_one_mailbox_are_merged_and_none_is_dropped(
    replicas: tuple[Auth, Auth], streams: NATS, clock: Clock
) -> None:
    auth, outbox = replicas[0], Recording()
    for name, email in (("anna", "anna@example.org"), ("anna2", "anna+2@example.org")):
        await register(auth, name, email)
        await auth.commands.verify_email(await auth.token(email), NO_ACTOR)

    def notices() -> list[str]:
        return [mail.username for mail in outbox.sent if mail.kind == "address_taken"]

    async with reacting(streams, auth, outbox, clock):
        await register(auth, "first", "anna@example.org")
        await until(lambda: notices() == ["anna"])
        for number in range(30):
            await register(auth, f"flood{number}", "anna@example.org")
        await register(auth, "second", "anna+2@example.org")
        # The newest registration on each of the two addresses waits.
        await settled(streams, waiting_notices=2)
        assert notices() == ["anna"]
        clock.forward(timedelta(hours=1))
        await until(lambda: len(notices()) == 3)
        await settled(streams)
    assert sorted(notices()) == ["anna", "anna", "anna2"]


async def test_notices_that_wait_for_their_hour_hold_up_no_others_and_are_no_warning(
    replicas: tuple[Auth, Auth], streams: NATS, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    auth, outbox = replicas[0], Recording()
    jetstream, name = streams.jetstream(), SECURITY_NOTICES.name
    for durable in (VERIFICATION_MAIL, SECURITY_NOTICES):
        await jetstream.add_consumer(
            "AUTH",
            # With a lower limit, as it was made before.
            ConsumerConfig(
                name=durable.name,
                durable_name=durable.name,
                filter_subject=durable.subject_filter,
                deliver_policy=DeliverPolicy.ALL,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=30,
                max_deliver=-1,
                max_ack_pending=1_000,
            ),
        )
    await register(auth, "anna")
    await auth.commands.verify_email(await auth.token("anna@example.org"), NO_ACTOR)
    with caplog.at_level(logging.INFO):
        async with reacting(streams, auth, outbox, clock):
            await register(auth, "first", "anna@example.org")
            await until(lambda: any(mail.kind == "address_taken" for mail in outbox.sent))
            await register(auth, "second", "anna@example.org")
            await settled(streams, waiting_notices=1)
            await until(lambda: any(f"{name} retries event" in record.message for record in caplog.records))
    for durable in (VERIFICATION_MAIL, SECURITY_NOTICES):
        assert (await jetstream.consumer_info("AUTH", durable.name)).config.max_ack_pending == 100_000
    assert {record.levelno for record in caplog.records if f"{name} retries event" in record.message} == {logging.INFO}
