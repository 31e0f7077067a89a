"""The mails as they go out."""

import re
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import SMTP, EmailPolicy, default
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.auth.mail.circumstances import Circumstances
from services.auth.mail.mailbox_budgets import ALERT_MAILS
from services.auth.mail.templates import Mail, Offer, address_of, render
from services.auth.tokens.email_verification import Verification, VerificationTokens

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
TOKEN = VerificationTokens(b"m" * 32).sign(
    Verification(user_id="01890a5d-ac96-774b-bcce-b302099a8057", claim_key="ab" * 16, expires_at=NOW)
)
LINK = f"https://chat.example.org/#/confirm/{TOKEN}"
LETTER = Mail(
    event_id="01890a5d-ac96-774b-bcce-b302099a8058",
    asked_at=NOW,
    recipient="Anna@example.org",
    username="anna",
    offers=(Offer(username="anna", token=TOKEN, good_for=timedelta(hours=24), link=LINK),),
)


def composed(**changes: Any) -> Any:  # noqa: ANN401 - the email package's messages are dynamic
    return render(msgspec.structs.replace(LETTER, **changes), "Vestnik <no-reply@chat.example.org>", NOW)


@pytest.mark.parametrize("policy", [default, SMTP])
def test_the_token_is_alone_on_a_line_however_the_mail_is_written(policy: EmailPolicy) -> None:
    lines = composed().as_bytes(policy=policy).splitlines()
    assert f"Token: {TOKEN}".encode() in lines


def test_the_headers_say_from_whom_to_whom_and_when() -> None:
    message, _, _ = read(composed().as_bytes())
    assert message["From"] == "Vestnik <no-reply@chat.example.org>"
    assert message["To"] == "Anna@example.org"
    assert message["Date"].datetime == NOW


def test_two_mails_for_one_event_can_be_recognised() -> None:
    assert composed()["Message-ID"] == composed()["Message-ID"]
    assert LETTER.event_id in composed()["Message-ID"]
    assert composed(event_id="another")["Message-ID"] != composed()["Message-ID"]


def test_a_comma_in_an_address_does_not_make_it_two() -> None:
    address_with_comma = "victim@example.net,a@example.org".replace("@", "_", 1)
    message, _, _ = read(composed(recipient=address_with_comma).as_bytes())
    assert len(message["To"].addresses) == 1


def test_a_domain_in_another_script_is_written_in_idna() -> None:
    assert address_of("anna@bücher.example").addr_spec == "anna@xn--bcher-kva.example"


def test_a_mail_goes_to_the_domain_that_was_meant_and_to_none_that_looks_like_it() -> None:
    assert address_of("anna@straße.de").addr_spec == "anna@xn--strae-oqa.de"


@pytest.mark.parametrize(
    "email", ["a@b", "a@x>,<y.org", "a@-x.org", "a@x..org", "a@[127.0.0.1]", "@x.org", "a@" + "x" * 260 + ".org"]
)
def test_a_malformed_address_is_refused(email: str) -> None:
    with pytest.raises(ValueError):
        address_of(email)


LOCAL_PARTS = st.from_regex(r"\A[^@\s\x00-\x1f\x7f]{1,64}\Z")
LABELS = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?\Z", fullmatch=True)


@given(LOCAL_PARTS, LABELS, LABELS)
@example("Bcc:x", "example", "org")
@example("анна", "example", "org")
@example('"a,b"', "example", "org")
def test_with_any_local_part_the_mail_has_one_recipient_and_its_own_headers(
    local_part: str, host: str, top_level: str
) -> None:
    try:
        message = composed(recipient=f"{local_part}@{host}.{top_level}")
    except ValueError:
        return
    (address,) = message["To"].addresses
    assert address.domain == f"{host}.{top_level}"
    written = message.as_bytes(policy=default.clone(utf8=True))
    head, _, body = written.partition(b"\n\n")
    names = [line.partition(b":")[0] for line in head.splitlines() if not line.startswith((b" ", b"\t"))]
    assert names == [name.encode() for name in message.keys()]  # noqa: SIM118 - a message is no mapping
    assert f"Token: {TOKEN}".encode() in body.splitlines()


VERIFICATION = (Offer(username="anna", token=TOKEN, good_for=timedelta(hours=24), link=LINK),)
RESET = (Offer(username="anna", token=TOKEN, good_for=timedelta(hours=1), link=f"https://x.example/#/reset/{TOKEN}"),)
SEVERAL = tuple(
    Offer(username=name, token=name[0].upper() * 71, good_for=timedelta(hours=2), link=f"https://x.example/#/{name}")
    for name in ("boris", "anna")
)
UNDO = (Offer(username="anna", token=TOKEN, good_for=timedelta(days=7), link=f"https://x.example/#/undo/{TOKEN}"),)
KINDS: dict[str, dict[str, Any]] = {
    "verification": {"kind": "verification", "offers": VERIFICATION},
    "verification again": {"kind": "verification_again", "offers": VERIFICATION},
    "several registrations": {"kind": "verification_again", "offers": SEVERAL},
    "reset": {"kind": "password_reset", "offers": RESET},
    "reset of a void password": {"kind": "password_reset", "text": "void_password", "offers": RESET},
    "change": {"kind": "email_change", "offers": VERIFICATION},
    "change requested": {"kind": "email_change_requested", "offers": (), "link": "https://chat.example.org/"},
    "changed": {"kind": "email_changed", "offers": UNDO},
    "change undone": {"kind": "email_change_undone", "offers": (), "link": "https://chat.example.org/"},
    "address taken": {"kind": "address_taken", "offers": (), "link": "https://chat.example.org/"},
    "new device": {
        "kind": "alert_new_device",
        "offers": (),
        "link": f"https://chat.example.org/#/not-me/{TOKEN}",
        "circumstances": Circumstances(at=NOW, device="Vestnik web, Firefox, Linux", address="192.0.2.1"),
    },
}
SUBJECTS = {
    ("verification", "en"): "Confirm your e-mail address",
    ("verification", "ru"): "Подтвердите свой адрес",
    ("verification again", "en"): "Confirm your e-mail address",
    ("verification again", "ru"): "Подтвердите свой адрес",
    ("several registrations", "en"): "Confirm your e-mail address",
    ("several registrations", "ru"): "Подтвердите свой адрес",
    ("reset", "en"): "Set another password",
    ("reset", "ru"): "Смена пароля",
    ("reset of a void password", "en"): "Set a new password",
    ("reset of a void password", "ru"): "Задайте новый пароль",
    ("change", "en"): "Confirm your new e-mail address",
    ("change", "ru"): "Подтвердите новый адрес",
    ("change requested", "en"): "Your e-mail address is to be changed",
    ("change requested", "ru"): "Запрошена смена вашего адреса",
    ("changed", "en"): "Your e-mail address was changed",
    ("changed", "ru"): "Ваш адрес изменён",
    ("change undone", "en"): "The change of your e-mail address was undone",
    ("change undone", "ru"): "Смена адреса отменена",
    ("address taken", "en"): "Someone wants to use your address",
    ("address taken", "ru"): "Кто-то пытается использовать ваш адрес",
    ("new device", "en"): "Login from a new device",
    ("new device", "ru"): "Вход с нового устройства",
}
RESETS = ("reset", "reset of a void password")
every_mail = pytest.mark.parametrize(("name", "language"), list(SUBJECTS))
# As the folder transport writes it, and as an SMTP server receives it.
POLICIES = [default, SMTP.clone(cte_type="7bit")]


def mail(name: str, language: str, **changes: Any) -> Any:  # noqa: ANN401 - as composed
    return composed(**{**KINDS[name], "language": language, **changes})


def read(written: bytes) -> tuple[Any, str, str]:
    """Message, plain text and HTML, as a mail program reads them."""
    message: Any = message_from_bytes(written, policy=default)
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    texts = [part.get_content().replace("\r\n", "\n") for part in message.iter_parts()]
    return message, texts[0], texts[1]


def document(html: str) -> ElementTree.Element:
    """The HTML part, which is well-formed XML as well."""
    return ElementTree.fromstring(html.removeprefix("<!DOCTYPE html>\n"))


@every_mail
@pytest.mark.parametrize("policy", POLICIES)
def test_every_mail_says_the_same_in_plain_text_and_in_html(name: str, language: str, policy: EmailPolicy) -> None:
    _, plain, html = read(mail(name, language).as_bytes(policy=policy))
    offers = KINDS[name]["offers"]
    assert [line for line in plain.splitlines() if line.startswith("Token:")] == [f"Token: {o.token}" for o in offers]
    links = [offer.link for offer in offers] or [KINDS[name]["link"]]
    assert [line for line in plain.splitlines() if "://" in line] == links
    root = document(html)
    assert [element.get("href") for element in root.iter("a")] == links
    assert [element.text for element in root.iter("code")] == [offer.token for offer in offers]
    words = " ".join(re.sub(r"(?m)^(Token:|https?:).*$", "", plain).split())
    shown = " ".join(
        "".join(element.itertext()) for element in root.iter() if element.tag in ("p", "h2") and not len(element)
    )
    assert " ".join(shown.split()) == words


@every_mail
def test_every_mail_is_in_one_language_and_says_which(name: str, language: str) -> None:
    message, plain, html = read(mail(name, language).as_bytes())
    assert message["Subject"] == SUBJECTS[name, language]
    assert message["Content-Language"] == language
    assert document(html).get("lang") == language
    assert document(html).findtext("head/title") == message["Subject"]
    cyrillic = re.compile("[\u0400-\u04ff]")
    assert bool(cyrillic.search(plain)) == bool(cyrillic.search(html)) == (language == "ru")
    assert "{" not in plain


@every_mail
def test_no_mail_loads_anything_or_runs_anything(name: str, language: str) -> None:
    _, _, html = read(mail(name, language).as_bytes())
    root = document(html)
    assert {element.tag for element in root.iter()} <= {
        *("html", "head", "meta", "title", "style", "body", "h2", "p", "a", "code"),
    }
    assert {attribute for element in root.iter() for attribute in element.attrib} <= {
        *("lang", "charset", "name", "content", "href", "style"),
    }
    assert "url(" not in html
    assert "@import" not in html
    assert root.find("head/meta[@name='color-scheme']") is not None


@every_mail
@pytest.mark.parametrize("policy", POLICIES)
def test_the_headers_are_ascii_and_no_line_is_longer_than_mail_servers_accept(
    name: str, language: str, policy: EmailPolicy
) -> None:
    written = mail(name, language).as_bytes(policy=policy)
    head = written.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    assert head.isascii()
    assert max(map(len, written.splitlines())) <= 998
    if policy is not default or language == "en":
        assert written.isascii()


@every_mail
def test_names_chosen_by_users_are_text_in_html_and_never_markup(name: str, language: str) -> None:
    hostile = '<img src="x">&amp;\'{0}'
    offers = tuple(msgspec.structs.replace(offer, username=hostile) for offer in KINDS[name]["offers"])
    _, plain, html = read(mail(name, language, username=hostile, offers=offers).as_bytes())
    assert hostile in plain
    assert "<img" not in html
    assert hostile in "".join(document(html).itertext())


@pytest.mark.parametrize("language", ["en", "ru"])
def test_token_and_link_can_be_cut_out_of_the_stored_mail_with_a_shell(language: str) -> None:
    lines = composed(language=language).as_bytes().splitlines()
    assert LINK.encode() in lines
    assert [line for line in lines if line.startswith(b"Token: ")] == [f"Token: {TOKEN}".encode()]


def test_a_mail_of_an_account_whose_language_this_release_lacks_is_in_english() -> None:
    message, plain, _ = read(composed(language="eo").as_bytes())
    assert message["Content-Language"] == "en"
    assert "Hello anna" in plain


def test_the_lines_of_the_plain_text_are_short_but_for_links() -> None:
    for name, language in SUBJECTS:
        _, plain, _ = read(mail(name, language).as_bytes())
        assert max(len(line) for line in plain.splitlines() if "://" not in line) <= 78


@pytest.mark.parametrize(
    ("span", "english", "russian"),
    [
        (timedelta(minutes=5), "less than an hour", "меньше часа"),
        (timedelta(minutes=59), "an hour", "1 час"),
        (timedelta(hours=2), "2 hours", "2 часа"),
        (timedelta(hours=5), "5 hours", "5 часов"),
        (timedelta(hours=11), "11 hours", "11 часов"),
        (timedelta(hours=21), "21 hours", "21 час"),
        (timedelta(hours=24), "24 hours", "24 часа"),
        (timedelta(hours=71), "71 hours", "71 час"),
        (timedelta(hours=72), "3 days", "3 дня"),
        (timedelta(days=7), "7 days", "7 дней"),
        (timedelta(days=21), "21 days", "21 день"),
    ],
)
def test_a_mail_says_how_long_its_token_is_good(span: timedelta, english: str, russian: str) -> None:
    offers = (msgspec.structs.replace(VERIFICATION[0], good_for=span),)
    assert f"are good for {english}." in read(composed(offers=offers).as_bytes())[1]
    assert f"действуют {russian}." in read(composed(offers=offers, language="ru").as_bytes())[1]


def test_the_mail_names_the_choice_that_the_page_behind_its_link_offers() -> None:
    for language in ("en", "ru"):
        page = (Path(__file__).parents[5] / f"services/gateway/static/messenger/js/i18n/{language}.js").read_text()
        (label,) = re.findall(r'^  not_me: "(.*)",$', page, re.MULTILINE)
        for name in ("verification", "change"):
            assert label in read(mail(name, language).as_bytes())[1]


@pytest.mark.parametrize(
    ("language", "stays", "void"), [("en", "stays as it is", "is void"), ("ru", "останется прежним", "не действует")]
)
def test_a_reset_mail_says_that_the_password_stays_only_while_there_is_one(
    language: str, stays: str, void: str
) -> None:
    usual, of_void = (" ".join(read(mail(name, language).as_bytes())[1].split()) for name in RESETS)
    assert (stays in usual, void in usual) == (True, False)
    assert (stays in of_void, void in of_void) == (False, True)


def test_a_mail_with_several_registrations_has_each_name_with_its_token() -> None:
    _, text, _ = read(mail("several registrations", "en").as_bytes())
    order = ["Account boris, good for 2 hours:", "Token: BBB", "Account anna, good for 2 hours:", "Token: AAA"]
    assert sorted(order, key=text.index) == order
    assert "you need its password" in " ".join(text.split())


@pytest.mark.parametrize("language", ["en", "ru"])
def test_every_alert_says_when_and_from_where_and_has_the_link_for_someone_who_did_not_do_it(language: str) -> None:
    subjects = set()
    for kind in ALERT_MAILS.values():
        message, text, _ = read(mail("new device", language, kind=kind).as_bytes())
        subjects.add(message["Subject"])
        assert ("192.0.2.1" in text, "Firefox" in text, "12:00 UTC" in text) == (True, True, True)
        assert [line for line in text.splitlines() if "://" in line] == [KINDS["new device"]["link"]]
    assert len(subjects) == len(ALERT_MAILS)


def test_the_notice_to_the_holder_of_a_taken_address_has_no_token() -> None:
    for language in ("en", "ru"):
        assert b"Token" not in mail("address taken", language).as_bytes()
