"""Codes of authenticator apps, against the published vectors, and recovery codes."""

import base64
from datetime import UTC, datetime, timedelta

import pytest

from services.auth.second_factor import codes
from services.auth.second_factor.codes import RecoveryDigests

SECRET = base64.b32encode(b"12345678901234567890").decode()


# RFC 6238, appendix B: the vectors have eight digits, of which an app shows the last six.
@pytest.mark.parametrize(
    ("seconds", "vector"),
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_the_codes_are_those_of_the_rfc(seconds: int, vector: str) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    assert codes.matching_steps(SECRET, vector[-6:], at) == (seconds // 30,)


@pytest.mark.parametrize(("steps", "good"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_clock_may_be_one_step_off(steps: int, good: bool) -> None:
    at = datetime.fromtimestamp(1234567890, UTC) + timedelta(seconds=30 * steps)
    assert bool(codes.matching_steps(SECRET, "005924", at)) is good


def test_nothing_comes_before_the_first_step() -> None:
    assert codes.matching_steps(SECRET, "755224", datetime.fromtimestamp(0, UTC)) == (0,)


@pytest.mark.parametrize(
    ("entered", "code"),
    [
        (" 123 456 ", "123456"),
        ("123-456", "123456"),
        ("123\u00a0456", "123456"),
        ("١٢٣٤٥٦", "123456"),
        ("१२३४५६", "123456"),
        ("123４56", "123456"),
        ("ABCD-efgh-2345-6767", "abcdefgh23456767"),
    ],
)
def test_codes_are_normalized_however_people_write_them(entered: str, code: str) -> None:
    assert codes.normalized(entered) == code


@pytest.mark.parametrize(
    "text", ["", "12345", "1234567", "12345a", "½23456", "①23456", "²23456", "12345\x00", "-12345"]
)
def test_anything_else_is_not_an_apps_code(text: str) -> None:
    assert not codes.is_app_code(codes.normalized(text))


def test_an_app_reads_the_secret_the_account_and_who_issued_it() -> None:
    uri = codes.otpauth_uri(SECRET, "anna@chat.example.org")
    assert uri == f"otpauth://totp/Vestnik:anna%40chat.example.org?secret={SECRET}&issuer=Vestnik"


def test_the_picture_is_a_square_with_three_corners() -> None:
    rows = codes.qr_code(codes.otpauth_uri(codes.new_secret(), "a" * 32 + "@chat.example.org"))
    assert {len(row) for row in rows} == {len(rows)}
    assert set("".join(rows)) == {"0", "1"}
    for corner in (rows[0][:7], rows[0][-7:], rows[-1][:7]):
        assert corner == "1111111"


def test_secrets_and_recovery_codes_are_random_and_long_enough() -> None:
    assert len(base64.b32decode(codes.new_secret())) == 20
    assert len({codes.new_secret() for _ in range(100)}) == 100
    recovery_codes = [code for _ in range(20) for code in codes.new_recovery_codes()]
    assert len(set(recovery_codes)) == 200
    for code in recovery_codes:
        assert [len(group) for group in code.split("-")] == [4] * 4
        assert not codes.is_app_code(codes.normalized(code))


def test_a_digest_is_of_one_user_and_one_key_and_ignores_how_the_code_is_written() -> None:
    digests = RecoveryDigests(b"k" * 32)
    digest = digests.of("anna", "abcd-efgh-2345-6767")
    assert digest == digests.of("anna", "ABCD EFGH 2345 6767")
    others = {digests.of("boris", "abcd-efgh-2345-6767"), RecoveryDigests(b"l" * 32).of("anna", "abcd-efgh-2345-6767")}
    assert digest not in others
