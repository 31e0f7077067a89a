"""Are the processes, NATS and PostgreSQL well?

Everything comes from Vestnik's own processes but the last section, which needs exporters beside the servers.
"""

from infra.devtools.dashboards.dashboard import Dashboard, Panel, Query, Section, stat

_NATS = "prometheus-nats-exporter with -varz and -jsz=all"
_POSTGRES = "postgres_exporter or CloudNativePG"
_NODE = "node_exporter"


def _exported(title: str, description: str, expr: str, legend: str, exporter: str, unit: str = "short") -> Panel:
    return Panel(
        title=title, description=description, queries=(Query(expr, legend),), unit=unit, width=6, exporter=exporter
    )


def _unreachable(name: str, dependency: str) -> Panel:
    return stat(
        f"{name} unreachable",
        f"Processes that {name} does not answer.",
        f'count(vestnik_dependency_up{{dependency="{dependency}"}} == 0) or vector(0)',
        bad_from=1,
    )


SERVERS = Dashboard(
    name="servers",
    title="servers",
    description="Processes of Vestnik and the servers that they depend on.",
    sections=(
        Section(
            "State",
            (
                stat("Processes", "Processes that can be scraped.", 'sum(up{job="vestnik"})'),
                stat(
                    "Processes down",
                    "Processes that cannot be scraped. Runbook: start-stop-look.md.",
                    'count(up{job="vestnik"} == 0) or vector(0)',
                    bad_from=1,
                ),
                stat(
                    "Restarts, 1 h",
                    "How often processes were restarted at their address; each deploy is one of each.",
                    'sum(changes(process_start_time_seconds{job="vestnik"}[1h]))',
                ),
                _unreachable("NATS", "nats"),
                _unreachable("PostgreSQL", "postgres"),
                stat(
                    "Without a quorum",
                    "Processes that decide nothing because their NATS node may be cut off.",
                    "sum(vestnik_quorum_waiting)",
                    bad_from=1,
                ),
            ),
        ),
        Section(
            "Processes",
            (
                Panel(
                    title="Dependencies",
                    description="Which part does not answer which process? 1: it answers.",
                    queries=(Query("vestnik_dependency_up", "{{service}} {{instance}}: {{dependency}}"),),
                    width=12,
                ),
                Panel(
                    title="Processes by service",
                    description="How many replicas are there of each service?",
                    queries=(Query('sum by (service) (up{job="vestnik"})', "{{service}}"),),
                    width=12,
                ),
                Panel(
                    title="Processor time",
                    description="Which process is at its limit? Each has one event loop: 1 is a whole core.",
                    queries=(
                        Query(
                            'rate(process_cpu_seconds_total{job="vestnik"}[$__rate_interval])',
                            "{{service}} {{instance}}",
                        ),
                    ),
                ),
                Panel(
                    title="Resident memory",
                    description="Does a process grow?",
                    queries=(Query('process_resident_memory_bytes{job="vestnik"}', "{{service}} {{instance}}"),),
                    unit="bytes",
                ),
                Panel(
                    title="Open files, share of the limit",
                    description="Does a process run out of file descriptors? Each live connection takes one.",
                    queries=(
                        Query(
                            'process_open_fds{job="vestnik"} / process_max_fds{job="vestnik"}',
                            "{{service}} {{instance}}",
                        ),
                    ),
                    unit="percentunit",
                ),
            ),
        ),
        Section(
            "Clocks and certificates",
            (
                Panel(
                    title="Clocks of callers",
                    description="By how much do the clocks of two machines differ? From 30 s on, calls are refused. "
                    "A clock that is behind shows after 5 minutes.",
                    queries=(
                        Query(
                            "max by (service, instance, caller) (abs(vestnik_service_token_clock_skew_seconds))",
                            "{{caller}} at {{service}} {{instance}}",
                        ),
                    ),
                    unit="s",
                    width=12,
                ),
                Panel(
                    title="Time until certificates expire",
                    description="Which certificate has to be renewed? Empty without TLS. Runbook: outage.md.",
                    queries=(
                        Query(
                            "min by (certificate) (vestnik_certificate_expiry_timestamp_seconds) - time()",
                            "{{certificate}}",
                        ),
                    ),
                    unit="s",
                    width=12,
                ),
            ),
        ),
        Section(
            "NATS and PostgreSQL as the services see them",
            (
                Panel(
                    title="NATS: append, p99",
                    description="How long does the store take to write durably?",
                    queries=(
                        Query(
                            "histogram_quantile(0.99, sum by (le) "
                            "(rate(vestnik_log_append_duration_seconds_bucket[$__rate_interval])))",
                            "p99",
                        ),
                    ),
                    unit="s",
                ),
                Panel(
                    title="PostgreSQL: transaction of a projection, p99",
                    description="How long does the database take to write a batch?",
                    queries=(
                        Query(
                            "histogram_quantile(0.99, sum by (le) "
                            "(rate(vestnik_projection_batch_duration_seconds_bucket[$__rate_interval])))",
                            "p99",
                        ),
                    ),
                    unit="s",
                ),
                Panel(
                    title="Messages between gateways",
                    description="How much do gateways send each other over plain NATS?",
                    queries=(
                        Query(
                            "sum by (subject) (rate(vestnik_presence_messages_total[$__rate_interval]))", "{{subject}}"
                        ),
                    ),
                    unit="ops",
                ),
            ),
        ),
        Section(
            "From exporters beside the servers (empty without them)",
            (
                _exported(
                    "NATS: connections",
                    "Clients of each node.",
                    "gnatsd_varz_connections or nats_varz_connections",
                    "{{server_id}}",
                    _NATS,
                ),
                _exported(
                    "NATS: slow consumers",
                    "Connections that a node closed because they did not read.",
                    "gnatsd_varz_slow_consumers or nats_varz_slow_consumers",
                    "{{server_id}}",
                    _NATS,
                ),
                _exported(
                    "NATS: memory",
                    "Memory of each node.",
                    "gnatsd_varz_mem or nats_varz_mem",
                    "{{server_id}}",
                    _NATS,
                    "bytes",
                ),
                _exported(
                    "PostgreSQL: up",
                    "1: the server answers its exporter.",
                    "pg_up or cnpg_collector_up",
                    "{{instance}}",
                    _POSTGRES,
                ),
                _exported(
                    "PostgreSQL: lag of the standby",
                    "How much is lost of the read models if it is promoted now? They catch up by themselves.",
                    "pg_replication_lag_seconds or cnpg_pg_replication_lag",
                    "{{instance}}",
                    _POSTGRES,
                    "s",
                ),
                _exported(
                    "PostgreSQL: connections",
                    "Connections by state.",
                    "sum by (instance, state) (pg_stat_activity_count or cnpg_backends_total)",
                    "{{instance}} {{state}}",
                    _POSTGRES,
                ),
                _exported(
                    "PostgreSQL: size",
                    "Size of the databases.",
                    "pg_database_size_bytes or cnpg_pg_database_size_bytes",
                    "{{datname}}",
                    _POSTGRES,
                    "bytes",
                ),
                _exported(
                    "Free disk space",
                    "Share of each file system that is free.",
                    'node_filesystem_avail_bytes{fstype!="tmpfs"} / node_filesystem_size_bytes{fstype!="tmpfs"}',
                    "{{instance}} {{mountpoint}}",
                    _NODE,
                    "percentunit",
                ),
            ),
        ),
    ),
)
