"""The jobs that prepare NATS and PostgreSQL."""

from tests.unit.infra.devtools.kubernetes.manifests import base, containers_of, named, pod_of


def test_the_streams_are_created_by_the_user_who_may_and_the_act_is_recorded() -> None:
    (container,) = containers_of(named(base(), "Job", "streams"))
    assert container["args"] == ["streams"]
    environ = {variable["name"]: variable["value"] for variable in container["env"]}
    assert environ["VESTNIK_NATS_URL_FILE"] == "/run/vestnik/topology/nats-url"
    # The command writes to the folder of secrets, and logs in as the operator with the password in it.
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert not mounts["/run/vestnik/secrets"].get("readOnly")
    assert mounts["/run/vestnik/secrets/nats-operator.password"]["readOnly"]


def test_the_sql_of_the_logins_runs_whole_or_not_at_all() -> None:
    job = named(base(), "Job", "postgres-logins")
    (container,) = containers_of(job)
    assert {"--single-transaction", "ON_ERROR_STOP=1"} <= set(container["command"])
    assert pod_of(job)["restartPolicy"] == "OnFailure"
