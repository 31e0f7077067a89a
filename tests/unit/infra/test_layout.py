"""Which processes run where."""

from itertools import count, islice
from pathlib import Path

import pytest

from infra.settings import SERVICES, Settings
from infra.supervisor.layout import absolute, gateway_url, lay_out


def ports(wanted: int) -> list[int]:
    return list(islice(count(21_000), wanted))


def test_every_process_gets_a_port_of_its_own_and_the_addresses_of_all() -> None:
    layout = lay_out(Settings(replicas=2), ports)
    listening = [place.settings.listen for place in layout.services]
    assert len(set(listening)) == len(listening) == 2 * len(SERVICES)
    for place in (*layout.services, *layout.gateways):
        assert place.settings.addresses_of("auth") == [("127.0.0.1", 21_000), ("127.0.0.1", 21_001)]


def test_replicas_are_numbered_and_a_single_one_is_not() -> None:
    assert [place.name for place in lay_out(Settings(), ports).gateways] == ["gateway"]
    assert [place.name for place in lay_out(Settings(replicas=2), ports).gateways] == ["gateway.1", "gateway.2"]


def test_profile_listens_for_rest_too() -> None:
    layout = lay_out(Settings(replicas=2), ports)
    profiles = [place.settings for place in layout.services if place.service == "profile"]
    assert [settings.rest_listen for settings in profiles] == list(layout.addresses["profile_rest"])


def test_settings_survive_the_way_through_the_environment() -> None:
    settings = lay_out(absolute(Settings(replicas=2), Path("somewhere")), ports).services[0].settings
    assert Settings.load(settings.environment(), dotenv=None) == settings


def test_every_service_logs_in_to_nats_as_itself() -> None:
    layout = lay_out(Settings(replicas=2), ports, lambda service: f"nats://{service}:secret@127.0.0.1:4222")
    logins = {place.name: place.settings.nats_url for place in (*layout.services, *layout.gateways)}
    assert logins["auth.2"] == "nats://auth:secret@127.0.0.1:4222"
    assert len(set(logins.values())) == len(SERVICES) + 1


def test_a_nats_server_that_was_named_is_used_by_all_as_it_was_named() -> None:
    layout = lay_out(Settings(nats_url="nats://a:b@c:4222"), ports)
    assert {place.settings.nats_url for place in (*layout.services, *layout.gateways)} == {"nats://a:b@c:4222"}


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("::1", "http://[::1]:8080"),
    ],
)
def test_the_gateways_url_is_one_that_can_be_opened_here(host: str, url: str) -> None:
    assert gateway_url(Settings(host=host)) == url
