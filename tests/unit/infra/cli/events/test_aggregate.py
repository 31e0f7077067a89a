import pytest
from click.testing import CliRunner

from infra.cli.events.aggregate import aggregate


@pytest.mark.parametrize(
    ("arguments", "named_by"),
    [
        (("user", "anna", "boris"), "give USER_ID or a username"),
        (("session", "anna"), "give SESSION_ID"),
        (("friendship", "anna"), "give PAIR_ID or two users"),
        (("read", "anna"), "give CONVERSATION_ID.USER_ID or two users"),
    ],
)
def test_ids_of_another_shape_are_refused_with_what_names_the_kind(
    arguments: tuple[str, ...], named_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Connected:
        async def close(self) -> None:
            pass

    async def connected(*args: object, **options: object) -> Connected:
        return Connected()

    monkeypatch.setattr("infra.cli.events.aggregate.connect_reader", connected)
    monkeypatch.setattr("infra.cli.events.aggregate.Log", lambda *args, **options: None)
    monkeypatch.setenv("VESTNIK_NATS_URL", "nats://127.0.0.1:4222")
    outcome = CliRunner().invoke(aggregate, arguments)
    assert outcome.exit_code == 2
    assert outcome.output.rstrip().endswith(named_by)
