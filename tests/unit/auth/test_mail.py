"""The verification mail as it goes out."""

from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import SMTP, EmailPolicy, default
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.auth.mail import Letter, Offer, address_of, compose
from services.auth.verification import Verification, VerificationTokens

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
TOKEN = VerificationTokens(b"m" * 32).sign(
    Verification(user_id="01890a5d-ac96-774b-bcce-b302099a8057", claim_key="ab" * 16, expires_at=NOW)
)
LINK = f"https://chat.example.org/#/confirm/{TOKEN}"
LETTER = Letter(
    event_id="01890a5d-ac96-774b-bcce-b302099a8058",
    asked_at=NOW,
    recipient="Anna@example.org",
    username="anna",
    offers=(Offer(username="anna", token=TOKEN, good_for=timedelta(hours=24), link=LINK),),
)


def composed(**changes: Any) -> Any:  # noqa: ANN401 - the email package's messages are dynamic
    return compose(msgspec.structs.replace(LETTER, **changes), "Vestnik <no-reply@chat.example.org>", NOW)


@pytest.mark.parametrize("policy", [default, SMTP])
def test_the_token_stands_alone_on_a_line_however_the_mail_is_written(policy: EmailPolicy) -> None:
    lines = composed().as_bytes(policy=policy).splitlines()
    assert f"Token: {TOKEN}".encode() in lines


def test_the_headers_say_from_whom_to_whom_and_when() -> None:
    read = message_from_bytes(composed().as_bytes(), policy=default)
    assert read["From"] == "Vestnik <no-reply@chat.example.org>"
    assert read["To"] == "Anna@example.org"
    assert read["Subject"]
    assert read["Date"].datetime == NOW
    assert read["Content-Transfer-Encoding"] == "7bit"


def test_two_mails_for_one_event_can_be_recognised() -> None:
    assert composed()["Message-ID"] == composed()["Message-ID"]
    assert LETTER.event_id in composed()["Message-ID"]
    assert composed(event_id="another")["Message-ID"] != composed()["Message-ID"]


def test_a_comma_in_an_address_does_not_make_it_two() -> None:
    read = message_from_bytes(
        composed(recipient="victim@example.net,a@example.org".replace("@", "_", 1)).as_bytes(), policy=default
    )
    assert len(read["To"].addresses) == 1


def test_a_domain_in_another_script_is_written_in_idna() -> None:
    assert address_of("anna@bücher.example").addr_spec == "anna@xn--bcher-kva.example"


def test_a_mail_goes_to_the_domain_that_was_meant_and_to_none_that_looks_like_it() -> None:
    assert address_of("anna@straße.de").addr_spec == "anna@xn--strae-oqa.de"


@pytest.mark.parametrize(
    "email", ["a@b", "a@x>,<y.org", "a@-x.org", "a@x..org", "a@[127.0.0.1]", "@x.org", "a@" + "x" * 260 + ".org"]
)
def test_what_is_no_address_is_refused(email: str) -> None:
    with pytest.raises(ValueError):
        address_of(email)


PERSONS = st.from_regex(r"\A[^@\s\x00-\x1f\x7f]{1,64}\Z")
LABELS = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?\Z", fullmatch=True)


@given(PERSONS, LABELS, LABELS)
@example("Bcc:x", "example", "org")
@example("анна", "example", "org")
@example('"a,b"', "example", "org")
def test_whatever_stands_before_the_at_the_mail_has_one_recipient_and_its_own_headers(
    person: str, host: str, top: str
) -> None:
    try:
        message = composed(recipient=f"{person}@{host}.{top}")
    except ValueError:
        return
    (address,) = message["To"].addresses
    assert address.domain == f"{host}.{top}"
    written = message.as_bytes(policy=default.clone(utf8=True))
    head, _, body = written.partition(b"\n\n")
    names = [line.partition(b":")[0] for line in head.splitlines() if not line.startswith((b" ", b"\t"))]
    assert names == [name.encode() for name in message.keys()]  # noqa: SIM118 - a message is no mapping
    assert f"Token: {TOKEN}".encode() in body.splitlines()


def test_the_mail_that_resets_a_password_has_its_token_on_a_line_of_its_own() -> None:
    offer = Offer(username="anna", token=TOKEN, good_for=timedelta(hours=1))
    letter = msgspec.structs.replace(LETTER, kind="password_reset", offers=(offer,))
    message = compose(letter, "Vestnik <no-reply@localhost>", NOW)
    text = message.get_content()
    assert message["Subject"] == "Set another password"
    assert [line for line in text.splitlines() if line.startswith("Token:")] == [f"Token: {TOKEN}"]
    assert "for an hour" in text
    assert max(map(len, text.splitlines())) <= 78


def test_the_mail_names_the_account_and_links_to_the_page_that_asks_whether_to_confirm_it() -> None:
    text = composed().get_content()
    assert "account named anna" in text
    assert LINK in text.splitlines()


def test_a_mail_with_several_registrations_has_each_name_with_its_token() -> None:
    offers = tuple(
        Offer(username=name, token=name.upper(), good_for=timedelta(hours=2), link=f"https://x.example/#/{name}")
        for name in ("boris", "anna")
    )
    text = composed(offers=offers).get_content()
    assert [line for line in text.splitlines() if line.startswith("Token:")] == ["Token: BORIS", "Token: ANNA"]
    assert text.index("Account boris, for 2 hours") < text.index("Token: BORIS") < text.index("Account anna")
    assert "you\nneed its password" in text
    assert max(map(len, text.splitlines())) <= 78


def test_the_notice_to_the_holder_of_a_taken_address_has_no_token() -> None:
    message = composed(kind="address_taken", offers=())
    assert message["Subject"] == "Somebody registered with your address"
    assert "Token" not in message.get_content()
    assert "Hello anna" in message.get_content()
