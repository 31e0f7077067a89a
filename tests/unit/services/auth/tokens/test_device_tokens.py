"""Tokens that mark a device, bound to the account and to its password."""

from contracts.values.ids import new_id
from services.auth.domain import NOBODY
from services.auth.tokens.device_tokens import DeviceTokens
from services.auth.tokens.signer import Signer

KEY = b"k" * 32
ANNA = new_id()


def test_a_device_is_known_to_its_account_until_the_password_is_another() -> None:
    devices = DeviceTokens(KEY)
    token = devices.make(ANNA, 3)
    assert devices.knows(token, ANNA, 3)
    for user_id, generation in ((ANNA, 2), (ANNA, 4), (new_id(), 3), (NOBODY, 0)):
        assert not devices.knows(token, user_id, generation)


def test_each_device_has_a_token_of_its_own() -> None:
    devices = DeviceTokens(KEY)
    assert len({devices.make(ANNA, 1) for _ in range(10)}) == 10


def test_nobody_else_makes_a_token() -> None:
    token = DeviceTokens(KEY).make(ANNA, 1)
    of_another_purpose = Signer(KEY, b"vestnik password reset 1\0").sign(b"x" * 28)
    for forged in ("", "x", token[:-1], token[:-2] + "AA", DeviceTokens(b"l" * 32).make(ANNA, 1), of_another_purpose):
        assert not DeviceTokens(KEY).knows(forged, ANNA, 1)


def test_a_device_that_logged_in_before_stays_known() -> None:
    token = "AYkKXayWd0u8zrMCCZqAVwAAAAMu1LemJ2VTZiMm-2RuEKMYeIPZj_Pc2g"
    assert DeviceTokens(KEY).knows(token, "01890a5d-ac96-774b-bcce-b302099a8057", 3)
