"""Are events appended, how fast, and is the history whole?"""

from infra.devtools.dashboards.dashboard import Dashboard, Panel, Query, Section, stat


def _quantile(share: str, metric: str) -> str:
    return f"histogram_quantile({share}, sum by (stream, le) (rate({metric}_bucket[$__rate_interval])))"


EVENT_STREAMS = Dashboard(
    name="event-streams",
    title="event streams",
    description="Appends to the streams in NATS JetStream, as the services that own them see it.",
    sections=(
        Section(
            "The history",
            (
                stat(
                    "Appended",
                    "Events appended per second, to all streams.",
                    "sum(rate(vestnik_log_events_appended_total[$__rate_interval]))",
                    unit="ops",
                ),
                stat(
                    "Failed appends, 1 h",
                    "Appends of the last hour that failed; clients were told so.",
                    "sum(increase(vestnik_log_append_failures_total[1h])) or vector(0)",
                    bad_from=1,
                ),
                stat(
                    "Lost events",
                    "Acknowledged events that are missing. Runbook: history-lost.md.",
                    "sum(max by (stream) (vestnik_log_lost_events))",
                    bad_from=1,
                ),
                stat(
                    "Without a quorum",
                    "Processes that decide nothing because their NATS node may be cut off.",
                    "sum(vestnik_quorum_waiting)",
                    bad_from=1,
                ),
                stat(
                    "NATS unreachable",
                    "Processes without a connection to NATS.",
                    'count(vestnik_dependency_up{dependency="nats"} == 0) or vector(0)',
                    bad_from=1,
                ),
                stat(
                    "Size of all streams",
                    "Bytes of all streams at a server, without replicas.",
                    "sum(max by (stream) (vestnik_log_stored_bytes))",
                    unit="bytes",
                ),
            ),
        ),
        Section(
            "Appends",
            (
                Panel(
                    title="Events appended",
                    description="How much is written, and to which stream?",
                    queries=(
                        Query(
                            "sum by (stream) (rate(vestnik_log_events_appended_total[$__rate_interval]))", "{{stream}}"
                        ),
                    ),
                    unit="ops",
                ),
                Panel(
                    title="Latency of appends, p50",
                    description="How long does a durable append take? Mostly the server's sync, and its replicas.",
                    queries=(Query(_quantile("0.5", "vestnik_log_append_duration_seconds"), "{{stream}}"),),
                    unit="s",
                ),
                Panel(
                    title="Latency of appends, p99",
                    description="How slow are the slowest appends? A leader's election shows here as seconds.",
                    queries=(Query(_quantile("0.99", "vestnik_log_append_duration_seconds"), "{{stream}}"),),
                    unit="s",
                ),
                Panel(
                    title="Conflicts",
                    description="Do writers meet on the same aggregate? Commands retry by themselves.",
                    queries=(
                        Query("sum by (stream) (rate(vestnik_log_conflicts_total[$__rate_interval]))", "{{stream}}"),
                    ),
                    unit="ops",
                ),
                Panel(
                    title="Failed appends",
                    description="Why do appends fail? `OutOfSpace`: a disk or a limit is full. Runbook: outage.md.",
                    queries=(
                        Query(
                            "sum by (stream, error) (rate(vestnik_log_append_failures_total[$__rate_interval]))",
                            "{{stream}}: {{error}}",
                        ),
                    ),
                    unit="ops",
                ),
                Panel(
                    title="Size of the streams",
                    description="How fast does the history grow, and when is the disk full?",
                    queries=(Query("max by (stream) (vestnik_log_stored_bytes)", "{{stream}}"),),
                    unit="bytes",
                ),
            ),
        ),
        Section(
            "Group commit",
            (
                Panel(
                    title="Events in a batch",
                    description="How many concurrent appends share one sync to disk? Only shared batches are counted.",
                    queries=(
                        Query(
                            "sum by (stream) (rate(vestnik_log_batch_events_sum[$__rate_interval]))"
                            " / sum by (stream) (rate(vestnik_log_batch_events_count[$__rate_interval]))",
                            "{{stream}}, mean",
                        ),
                    ),
                ),
                Panel(
                    title="Batches",
                    description="How many batches are sent?",
                    queries=(
                        Query("sum by (stream) (rate(vestnik_log_batch_events_count[$__rate_interval]))", "{{stream}}"),
                    ),
                    unit="ops",
                ),
                Panel(
                    title="Share of events in batches",
                    description="Which share of events was appended together with others? Grows with the load.",
                    queries=(
                        Query(
                            "sum by (stream) (rate(vestnik_log_batch_events_sum[$__rate_interval]))"
                            " / (sum by (stream) (rate(vestnik_log_events_appended_total[$__rate_interval])) > 0)",
                            "{{stream}}",
                        ),
                    ),
                    unit="percentunit",
                ),
            ),
        ),
    ),
)
