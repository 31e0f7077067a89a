"""Operators are the accounts in the file; no one if it cannot be read."""

from pathlib import Path

import pytest

from infra.security.operator_accounts import FILE, NoSuchOperator, Operators, UnreadableOperators

ANNA, BORIS = "01900000-0000-7000-8000-00000000000a", "01900000-0000-7000-8000-00000000000b"


def test_there_is_no_operator_until_one_was_created(tmp_path: Path) -> None:
    operators = Operators(tmp_path)
    assert operators.find(ANNA) is None
    assert operators.all() == []
    account = operators.add(ANNA, "anna", "root")
    assert (account.username, account.by) == ("anna", "root")
    assert Operators(tmp_path).find(ANNA) == account
    assert Operators(tmp_path).find(BORIS) is None
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0


def test_adding_an_existing_operator_changes_nothing(tmp_path: Path) -> None:
    operators = Operators(tmp_path)
    first = operators.add(ANNA, "anna", "root")
    assert operators.add(ANNA, "anna", "somebody else") == first
    assert operators.all() == [first]


@pytest.mark.parametrize("name", [ANNA, "anna"])
def test_an_operator_is_removed_by_id_or_by_name(tmp_path: Path, name: str) -> None:
    operators = Operators(tmp_path)
    operators.add(ANNA, "anna", "root")
    boris = operators.add(BORIS, "boris", "root")
    assert operators.remove(name).user_id == ANNA
    assert operators.all() == [boris]
    with pytest.raises(NoSuchOperator, match="not an operator"):
        operators.remove(name)


def test_a_change_takes_effect_immediately(tmp_path: Path) -> None:
    serving = Operators(tmp_path)
    for _ in range(100):
        assert serving.find(ANNA) is None
        Operators(tmp_path).add(ANNA, "anna", "root")
        assert serving.find(ANNA) is not None
        Operators(tmp_path).remove("anna")
    (tmp_path / FILE).unlink()
    assert serving.find(ANNA) is None


@pytest.mark.parametrize("content", ["", "{}", '[{"user_id": 1}]', "nonsense"])
def test_where_the_file_cannot_be_read_nobody_is_one_and_nothing_is_overwritten(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(UnreadableOperators, match=FILE):
        Operators(tmp_path).find(ANNA)
    with pytest.raises(UnreadableOperators):
        Operators(tmp_path).add(ANNA, "anna", "root")
    assert (tmp_path / FILE).read_text() == content


def test_an_operator_is_named_by_the_accounts_id_as_long_as_it_is_one(tmp_path: Path) -> None:
    operators = Operators(tmp_path)
    operators.add(ANNA, "anna", "root")
    assert [operators.name_of(name) for name in (ANNA, BORIS, "root")] == ["anna", BORIS, "root"]
    assert [operators.id_of(name) for name in ("anna", "boris", ANNA)] == [ANNA, "boris", ANNA]
    (tmp_path / FILE).write_text("nonsense")
    assert (operators.name_of(ANNA), operators.id_of("anna")) == (ANNA, "anna")
