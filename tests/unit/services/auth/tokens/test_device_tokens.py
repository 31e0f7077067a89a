"""Tokens that mark a device, bound to the account and to its password."""

from datetime import UTC, datetime

from contracts.values.ids import new_id
from services.auth.domain import NOBODY
from services.auth.tokens.device_tokens import DeviceTokens
from services.auth.tokens.signer import Signer

KEY = b"k" * 32
ANNA = new_id()


def test_a_device_is_known_to_its_account_until_the_password_is_another() -> None:
    devices = DeviceTokens(KEY)
    token = devices.make(ANNA, 3)
    assert devices.find(token, ANNA, 3) is not None
    for user_id, generation in ((ANNA, 2), (ANNA, 4), (new_id(), 3), (NOBODY, 0)):
        assert devices.find(token, user_id, generation) is None


def test_each_device_has_a_token_of_its_own() -> None:
    devices = DeviceTokens(KEY)
    assert len({devices.make(ANNA, 1) for _ in range(10)}) == 10


def test_forged_device_tokens_are_refused() -> None:
    token = DeviceTokens(KEY).make(ANNA, 1)
    of_another_purpose = Signer(KEY, b"vestnik password reset 1\0").sign(b"x" * 28)
    altered = token[:-2] + ("AA" if token[-2:] != "AA" else "QA")
    for forged in ("", "x", token[:-1], altered, DeviceTokens(b"l" * 32).make(ANNA, 1), of_another_purpose):
        assert DeviceTokens(KEY).find(forged, ANNA, 1) is None


def test_a_device_that_logged_in_before_there_was_a_second_factor_stays_known_and_has_proved_no_code() -> None:
    token = "AYkKXayWd0u8zrMCCZqAVwAAAAMu1LemJ2VTZiMm-2RuEKMYeIPZj_Pc2g"
    device = DeviceTokens(KEY).find(token, "01890a5d-ac96-774b-bcce-b302099a8057", 3)
    assert device is not None
    assert device.second_factor == 0


def test_a_token_names_the_code_that_its_device_has_proved() -> None:
    devices, at = DeviceTokens(KEY), datetime(2026, 12, 1, 12, tzinfo=UTC)
    device = devices.find(devices.make(ANNA, 1, second_factor=3, proved_at=at), ANNA, 1)
    assert device is not None
    assert (device.second_factor, device.proved_at) == (3, at)
