"""Which spellings of a mail address count as the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.values.mail_addresses import ascii_domain, folded_address, spelled_out

SAME = [
    ("a@exämple.org", "a@xn--exmple-cua.org"),
    ("A@EXÄMPLE.ORG", "a@XN--EXMPLE-CUA.org"),
    ("a@exa\u0308mple.org", "a@exämple.org"),
    ("a@ｅxämple.org", "a@exämple.org"),
    ("a@exämple。org", "a@exämple.org"),
    ("анна@пример.рф", "АННА@xn--e1afmkfd.xn--p1ai"),
    ("a@ΌΣ.gr", "a@όσ.gr"),
    ("a@☕.example", "a@xn--53h.example"),
    ("Anna@Example.org", "anna@example.org"),
]
OTHERS = [("a@straße.de", "a@strasse.de"), ("a@exämple.org", "a@example.org"), ("ä@example.org", "a@example.org")]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_spellings_of_one_address_fold_to_the_same(one: str, other: str) -> None:
    assert folded_address(one) == folded_address(other)


@pytest.mark.parametrize(("one", "other"), OTHERS)
def test_other_addresses_stay_others(one: str, other: str) -> None:
    assert folded_address(one) != folded_address(other)


def test_the_folded_domain_is_the_one_of_dns_and_can_be_spelled_out() -> None:
    assert folded_address("A@exämple.org") == "a@xn--exmple-cua.org"
    assert spelled_out("A@xn--exmple-cua.org") == "a@exämple.org"
    assert spelled_out("a@xn--a.org") == "a@xn--a.org"


@pytest.mark.parametrize("domain", ["ä..org", "ä" * 64 + ".org", "\u0301ä.\u3002"])
def test_a_domain_that_cannot_be_is_refused(domain: str) -> None:
    with pytest.raises(ValueError):
        ascii_domain(domain)


@given(st.text(max_size=254))
def test_any_text_has_a_folded_form_which_folds_to_itself(text: str) -> None:
    folded = folded_address(text)
    assert folded_address(folded) == folded
    spelled_out(text)
