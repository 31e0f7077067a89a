"""Keys of claims."""

from services.auth.claim_keys import ClaimKeys

KEYS = ClaimKeys(b"k" * 32)


def test_addresses_that_differ_only_in_case_share_a_key() -> None:
    assert KEYS.of_email("Anna@Example.ORG") == KEYS.of_email("anna@example.org")
    assert KEYS.of_email("ÅSA@example.org") == KEYS.of_email("a\u030asa@example.org")


def test_an_address_in_another_script_has_one_key_and_is_looked_for_under_those_of_its_spellings() -> None:
    spelled, encoded = "a@exämple.org", "a@xn--exmple-cua.org"
    assert KEYS.of_email(spelled) == KEYS.of_email(encoded)
    assert set(KEYS.of_spellings(spelled)) == set(KEYS.of_spellings(encoded))
    assert len(KEYS.of_spellings(spelled)) == 2
    assert KEYS.of_spellings("Anna@example.org") == (KEYS.of_email("anna@example.org"),)


def test_usernames_that_differ_only_in_case_share_a_key() -> None:
    assert KEYS.of_username("Anna") == KEYS.of_username("anna")


def test_a_key_is_32_hex_characters_and_reveals_nothing_without_the_deployments_key() -> None:
    key = KEYS.of_email("anna@example.org")
    assert len(key) == 32
    assert int(key, 16) >= 0
    assert ClaimKeys(b"other" * 8).of_email("anna@example.org") != key


def test_an_address_and_a_name_of_the_same_letters_are_different_claims() -> None:
    assert KEYS.of_email("anna") != KEYS.of_username("anna")


def test_plus_addresses_are_one_mailbox_and_addresses_of_their_own() -> None:
    assert KEYS.of_mailbox("anna+shop@example.org") == KEYS.of_mailbox("Anna@example.org")
    assert KEYS.of_mailbox("anna@example.org") != KEYS.of_mailbox("boris@example.org")
    assert KEYS.of_mailbox("anna@example.org") != KEYS.of_mailbox("anna@example.net")
    assert KEYS.of_email("anna+shop@example.org") != KEYS.of_email("anna@example.org")
    assert KEYS.of_mailbox("anna@example.org") != KEYS.of_email("anna@example.org")
