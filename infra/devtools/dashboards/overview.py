"""Does the service meet its objectives, from its clients' point of view?"""

from infra.devtools.dashboards.dashboard import Dashboard, Panel, Query, Section, stat

# Probes and metrics are no clients. A request for live events lasts as long as its connection.
_CLIENTS = 'route!~"/readyz|/healthz|/metrics"'
_SHORT = 'route!~"/readyz|/healthz|/metrics|/v1/events|/v1/ws"'


def _quantile(share: str, window: str = "$__rate_interval", by: str = "le") -> str:
    return (
        f"histogram_quantile({share}, sum by ({by}) (rate(vestnik_http_request_seconds_bucket{{{_SHORT}}}[{window}])))"
    )


OVERVIEW = Dashboard(
    name="overview",
    title="overview",
    description="Requests, errors, latency, limits and live connections at the gateways.",
    sections=(
        Section(
            "Service level",
            (
                stat(
                    "Availability, 1 h",
                    "Share of requests of the last hour that were answered without a server error.",
                    f'1 - (sum(rate(vestnik_http_requests_total{{status=~"5..", {_CLIENTS}}}[1h])) or vector(0))'
                    f" / sum(rate(vestnik_http_requests_total{{{_CLIENTS}}}[1h]))",
                    unit="percentunit",
                    good_from=0.999,
                ),
                stat(
                    "Latency p99, 1 h",
                    "99 of 100 requests of the last hour were faster, connections for live events left out.",
                    _quantile("0.99", "1h"),
                    unit="s",
                    bad_from=1,
                ),
                stat(
                    "Requests",
                    "Requests answered per second by all gateways.",
                    f"sum(rate(vestnik_http_requests_total{{{_CLIENTS}}}[$__rate_interval]))",
                    unit="reqps",
                ),
                stat("Clients connected", "Open SSE and WebSocket connections.", "sum(vestnik_live_clients)"),
                stat(
                    "Oldest unapplied event",
                    "How stale the most stale read model is. See the dashboard of the projections.",
                    "max(vestnik_projection_lag_seconds)",
                    unit="s",
                    bad_from=60,
                ),
                stat(
                    "Parts that do not answer",
                    "Processes that cannot be scraped, and dependencies that a process finds down. See the servers.",
                    '(count(up{job="vestnik"} == 0) or vector(0)) + (count(vestnik_dependency_up == 0) or vector(0))',
                    bad_from=1,
                ),
            ),
        ),
        Section(
            "Requests",
            (
                Panel(
                    title="Requests by route",
                    description="What do clients do? The ten busiest routes.",
                    queries=(
                        Query(
                            "topk(10, sum by (method, route) (rate(vestnik_http_requests_total[$__rate_interval])))",
                            "{{method}} {{route}}",
                        ),
                    ),
                    unit="reqps",
                ),
                Panel(
                    title="Latency",
                    description="How long do clients wait? From a request's headers to the end of its answer.",
                    queries=tuple(
                        Query(_quantile(share), f"p{float(share) * 100:g}") for share in ("0.5", "0.95", "0.99")
                    ),
                    unit="s",
                ),
                Panel(
                    title="Latency p99 by route",
                    description="Which route is slow? The ten slowest.",
                    queries=(Query(f"topk(10, {_quantile('0.99', by='method, route, le')})", "{{method}} {{route}}"),),
                    unit="s",
                ),
                Panel(
                    title="Server errors",
                    description="Which route fails? The log has the requests' ids. 503 of /readyz: not ready.",
                    queries=(
                        Query(
                            "sum by (method, route, status) "
                            '(rate(vestnik_http_requests_total{status=~"5.."}[$__rate_interval]))',
                            "{{status}} {{method}} {{route}}",
                        ),
                    ),
                    unit="reqps",
                ),
                Panel(
                    title="Client errors",
                    description="Do clients make mistakes? Many 401 or 404 may be an attack, many 422 a broken client.",
                    queries=(
                        Query(
                            'sum by (status) (rate(vestnik_http_requests_total{status=~"4.."}[$__rate_interval]))',
                            "{{status}}",
                        ),
                    ),
                    unit="reqps",
                ),
                Panel(
                    title="Exhausted rate limits",
                    description="Which limits (docs/reference/limits.md) do clients reach? Ordinary ones reach none.",
                    queries=(
                        Query("sum by (limit) (rate(vestnik_rate_limited_total[$__rate_interval]))", "{{limit}}"),
                    ),
                    unit="reqps",
                ),
            ),
        ),
        Section(
            "Live events",
            (
                Panel(
                    title="Live connections",
                    description="How many clients are connected, and how?",
                    queries=(Query("sum by (kind) (vestnik_live_clients)", "{{kind}}"),),
                ),
                Panel(
                    title="Delay of live events",
                    description="How long does an event take to the clients' buffers?",
                    queries=tuple(
                        Query(
                            f"histogram_quantile({share}, "
                            "sum by (le) (rate(vestnik_live_lag_seconds_bucket[$__rate_interval])))",
                            f"p{float(share) * 100:g}",
                        )
                        for share in ("0.5", "0.99")
                    ),
                    unit="s",
                ),
                Panel(
                    title="Live events delivered",
                    description="How many events are handed to clients?",
                    queries=(
                        Query("sum(rate(vestnik_live_events_total[$__rate_interval]))", "events"),
                        Query("sum(rate(vestnik_presence_events_total[$__rate_interval]))", "presence"),
                    ),
                    unit="ops",
                ),
                Panel(
                    title="Ended live connections",
                    description="Why do connections end? `too slow`: the client did not read fast enough.",
                    queries=(
                        Query(
                            "sum by (kind, reason) (rate(vestnik_live_clients_ended_total[$__rate_interval]))",
                            "{{kind}}: {{reason}}",
                        ),
                    ),
                    unit="ops",
                ),
                Panel(
                    title="Requests in progress",
                    description="Does a gateway have more work than it can do? See docs/reference/limits.md.",
                    queries=(Query("vestnik_http_requests_running", "{{instance}}"),),
                ),
                Panel(
                    title="Profile reads",
                    description="How many profile reads does the gateways' cache answer?",
                    queries=(
                        Query("sum by (outcome) (rate(vestnik_profile_cache_total[$__rate_interval]))", "{{outcome}}"),
                    ),
                    unit="ops",
                ),
            ),
        ),
    ),
)
