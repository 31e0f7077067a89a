"""Which processes run where."""

from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest

from contracts.services import REGISTRY, SERVICES
from infra.settings import Settings
from infra.supervisor.process_plan import absolute, gateway_url, lay_out


def ports(number: int) -> list[int]:
    return list(islice(count(21_000), number))


def test_every_process_gets_a_port_of_its_own_and_the_addresses_of_all() -> None:
    layout = lay_out(Settings(replicas=2), ports)
    listening = [process.settings.listen for process in layout.services]
    assert len(set(listening)) == len(listening) == 2 * len(SERVICES)
    for process in (*layout.services, *layout.gateways):
        assert process.settings.addresses_of("auth") == [("127.0.0.1", 21_000), ("127.0.0.1", 21_001)]


def test_every_process_has_its_metrics_at_a_place_of_its_own() -> None:
    layout = lay_out(Settings(replicas=2), ports)
    addresses = [process.settings.metrics_listen for process in (*layout.services, *layout.gateways)]
    assert len(set(addresses)) == len(addresses)
    assert sorted(addresses) == sorted(address for of_service in layout.metrics.values() for address in of_service)
    assert not {process.settings.listen for process in layout.services} & set(addresses)


def test_replicas_are_numbered_and_a_single_one_is_not() -> None:
    assert [process.name for process in lay_out(Settings(), ports).gateways] == ["gateway"]
    assert [process.name for process in lay_out(Settings(replicas=2), ports).gateways] == ["gateway.1", "gateway.2"]


def test_profile_listens_for_rest_too() -> None:
    layout = lay_out(Settings(replicas=2), ports)
    profiles = [process.settings for process in layout.services if process.service == "profile"]
    assert [settings.rest_listen for settings in profiles] == list(layout.addresses["profile_rest"])


def test_settings_survive_the_way_through_the_environment() -> None:
    settings = lay_out(absolute(Settings(replicas=2), Path("somewhere")), ports).services[0].settings
    assert Settings.load(settings.environment(), dotenv=None) == settings


def test_every_service_logs_in_to_nats_as_itself() -> None:
    layout = lay_out(Settings(replicas=2), ports, lambda service: f"nats://{service}:secret@127.0.0.1:4222")
    logins = {process.name: process.settings.nats_url for process in (*layout.services, *layout.gateways)}
    assert logins["auth.2"] == "nats://auth:secret@127.0.0.1:4222"
    assert logins["operator"] == "nats://operator:secret@127.0.0.1:4222"
    assert len(set(logins.values())) == len(REGISTRY)


def test_a_nats_server_that_was_named_is_used_by_all_as_it_was_named() -> None:
    layout = lay_out(Settings(nats_url="nats://a:b@c:4222"), ports)
    assert {process.settings.nats_url for process in (*layout.services, *layout.gateways)} == {"nats://a:b@c:4222"}


def test_every_service_logs_in_to_the_database_as_itself_and_the_gateway_not_at_all() -> None:
    settings = Settings(replicas=2, database_url="postgresql://vestnik_operator:secret@127.0.0.1/vestnik")
    layout = lay_out(settings, ports, None, lambda service: f"postgresql://{service}:secret@127.0.0.1/vestnik")
    logins = {process.name: process.settings.database_url for process in (*layout.services, *layout.gateways)}
    assert logins["auth.2"] == "postgresql://auth:secret@127.0.0.1/vestnik"
    assert {logins["gateway.1"], logins["gateway.2"]} == {""}
    assert len(set(logins.values())) == len(SERVICES) + 1


def test_a_database_that_was_named_is_used_by_all_services_as_it_was_named() -> None:
    url = "postgresql://a:b@c/d"
    layout = lay_out(Settings(database_url=url), ports)
    assert {process.settings.database_url for process in layout.services if process.service in SERVICES} == {url}
    assert {process.settings.database_url for process in layout.gateways} == {""}


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


def test_mails_are_shown_only_where_nobody_else_can_be_asking() -> None:
    def mail_settings(**values: Any) -> set[str]:  # noqa: ANN401 - values of any setting
        return {process.settings.show_mail for process in lay_out(Settings(**values), ports).gateways}

    assert mail_settings() == mail_settings(host="::1") == {"on"}
    for elsewhere in (
        {"host": "0.0.0.0"},
        {"smtp_url": "smtp://mail.example.org"},
        {"public_url": "https://chat.example.org"},
        {"trusted_hops": 1},
        {"show_mail": "off"},
    ):
        assert mail_settings(**elsewhere) == {"off"}, elsewhere
    assert mail_settings(host="0.0.0.0", show_mail="on") == {"on"}


def test_operators_need_a_second_factor_unless_the_page_is_reached_from_this_machine_alone() -> None:
    def totp_settings(**values: Any) -> set[str]:  # noqa: ANN401 - values of any setting
        return {process.settings.operator_totp for process in lay_out(Settings(**values), ports).services}

    assert totp_settings() == totp_settings(host="::1") == totp_settings(smtp_url="smtp://mail.example.org") == {"off"}
    for elsewhere in (
        {"host": "0.0.0.0"},
        {"public_url": "https://chat.example.org"},
        {"public_url": "http://127.0.0.1:8080"},
        {"trusted_hops": 1},
        {"operator_totp": "on"},
    ):
        assert totp_settings(**elsewhere) == {"on"}, elsewhere
    assert totp_settings(host="0.0.0.0", operator_totp="off") == {"off"}
