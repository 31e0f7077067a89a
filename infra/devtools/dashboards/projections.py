"""How fresh are the read models, and does each of them work?"""

from infra.devtools.dashboards.dashboard import Dashboard, Panel, Query, Section, stat

_NAME = "{{projection}} {{version}}"


def _rate(metric: str) -> str:
    return f"sum by (projection, version) (rate({metric}[$__rate_interval]))"


def _quantile(share: str, metric: str) -> str:
    return f"histogram_quantile({share}, sum by (projection, version, le) (rate({metric}_bucket[$__rate_interval])))"


PROJECTIONS = Dashboard(
    name="projections",
    title="projections",
    description="Freshness and health of the read models. A rebuild is a second version of the same projection.",
    sections=(
        Section(
            "State",
            (
                stat(
                    "Oldest unapplied event",
                    "How stale the most stale read model is. Runbook: projection-behind.md.",
                    "max(vestnik_projection_lag_seconds)",
                    unit="s",
                    bad_from=60,
                ),
                stat(
                    "Failed projections",
                    "Projections that stopped because of their code. Runbook: bad-deploy-of-a-projection.md.",
                    "sum(max by (projection, version) (vestnik_projection_failed))",
                    bad_from=1,
                ),
                stat(
                    "Paused projections",
                    "Projections that an operator has paused. Runbook: projection-behind.md.",
                    "sum(max by (projection, version) (vestnik_projection_paused))",
                    bad_from=1,
                ),
                stat(
                    "Without a leader",
                    "Projections that no process applies. Runbook: projection-behind.md.",
                    "count(max by (projection, version) (vestnik_projection_leading) == 0) or vector(0)",
                    bad_from=1,
                ),
                stat(
                    "Failed events",
                    "Events that could not be applied. Runbook: dead-letter.md.",
                    'sum(max by (projection, version) (vestnik_projection_dead_letters{state="failed"}))',
                    bad_from=1,
                ),
                stat(
                    "Lost events",
                    "Events that projections found missing in their streams. Runbook: lost-events.md.",
                    "sum(max by (projection, version) (vestnik_projection_lost_events))",
                    bad_from=1,
                ),
                stat(
                    "Builds in progress",
                    "Builds that are not live yet: rebuilds and new versions.",
                    "count(vestnik_projection_build_progress_ratio) or vector(0)",
                ),
            ),
        ),
        Section(
            "Freshness",
            (
                Panel(
                    title="Lag in seconds",
                    description="How old is the oldest event that a read model does not show?",
                    queries=(Query("max by (projection, version) (vestnik_projection_lag_seconds)", _NAME),),
                    unit="s",
                    width=12,
                ),
                Panel(
                    title="Lag in events",
                    description="How many events are not applied yet?",
                    queries=(
                        Query(
                            "max by (projection, version, stream) (vestnik_projection_lag_events)",
                            _NAME + " of {{stream}}",
                        ),
                    ),
                    width=12,
                ),
                Panel(
                    title="Reads that waited, p99",
                    description="How long do reads of one's own writes wait? Calls that need not wait are not counted.",
                    queries=(Query(_quantile("0.99", "vestnik_projection_wait_duration_seconds"), _NAME),),
                    unit="s",
                ),
                Panel(
                    title="Reads that waited without success",
                    description="How many calls were answered `read_model_behind`?",
                    queries=(Query(_rate("vestnik_projection_waited_in_vain_total"), _NAME),),
                    unit="ops",
                ),
                Panel(
                    title="Reads that wait",
                    description="How many calls wait now?",
                    queries=(Query("sum by (projection, version) (vestnik_projection_waiting)", _NAME),),
                ),
            ),
        ),
        Section(
            "Work",
            (
                Panel(
                    title="Events applied",
                    description="How fast is each projection? During a rebuild, how fast is the build?",
                    queries=(Query(_rate("vestnik_projection_events_applied_total"), _NAME),),
                    unit="ops",
                ),
                Panel(
                    title="Time to write a batch, p99",
                    description="How long does PostgreSQL take? Rows and checkpoint are written together.",
                    queries=(Query(_quantile("0.99", "vestnik_projection_batch_duration_seconds"), _NAME),),
                    unit="s",
                ),
                Panel(
                    title="Events in a batch",
                    description="How many events share a transaction? Grows with the load.",
                    queries=(
                        Query(
                            f"{_rate('vestnik_projection_batch_events_sum')}"
                            f" / {_rate('vestnik_projection_batch_events_count')}",
                            _NAME,
                        ),
                    ),
                ),
                Panel(
                    title="Progress of builds",
                    description="How far is a rebuild? Empty while none is in progress.",
                    queries=(Query("max by (projection, version) (vestnik_projection_build_progress_ratio)", _NAME),),
                    unit="percentunit",
                ),
                Panel(
                    title="Dead letters",
                    description="How many events failed, and how many wait behind them?",
                    queries=(
                        Query(
                            "max by (projection, version, state) (vestnik_projection_dead_letters)",
                            _NAME + ": {{state}}",
                        ),
                    ),
                ),
                Panel(
                    title="Restarts of runners",
                    description="Does a runner fail and start again? The log of its service says why.",
                    queries=(Query(_rate("vestnik_projection_errors_total"), _NAME),),
                ),
                Panel(
                    title="Age of the checkpoint",
                    description="Does a projection move? Without new events its checkpoint is confirmed.",
                    queries=(
                        Query(
                            "time() - max by (projection, version) "
                            "(vestnik_projection_last_checkpoint_timestamp_seconds)",
                            _NAME,
                        ),
                    ),
                    unit="s",
                ),
                Panel(
                    title="Processes that apply",
                    description="Which process applies each projection? Exactly one should.",
                    queries=(
                        Query(
                            "sum by (projection, version, instance) (vestnik_projection_leading) > 0",
                            _NAME + " at {{instance}}",
                        ),
                    ),
                ),
                Panel(
                    title="Newest pages of conversations",
                    description="Are pages served from the cache? If most are `made`, it is too small for the readers.",
                    queries=(
                        Query(
                            "sum by (outcome) (rate(vestnik_newest_pages_read_total[$__rate_interval]))", "{{outcome}}"
                        ),
                    ),
                    unit="ops",
                ),
            ),
        ),
        Section(
            "Reactions",
            (
                Panel(
                    title="Lag of reactions",
                    description="How many events has no process attempted yet? Runbook: dead-letter.md.",
                    queries=(Query("max by (reaction) (vestnik_reaction_lag_events)", "{{reaction}}"),),
                ),
                Panel(
                    title="Attempts of reactions",
                    description="How many effects are done, fail or wait for their turn?",
                    queries=(
                        Query(
                            "sum by (reaction, outcome) (rate(vestnik_reaction_attempts_total[$__rate_interval]))",
                            "{{reaction}} {{outcome}}",
                        ),
                    ),
                    unit="ops",
                ),
                Panel(
                    title="Parked and waiting events of reactions",
                    description="Which effects wait for an operator, and which for their next attempt?",
                    queries=(
                        Query("max by (reaction) (vestnik_reaction_parked_events)", "{{reaction}} parked"),
                        Query("max by (reaction) (vestnik_reaction_waiting)", "{{reaction}} waiting"),
                    ),
                ),
            ),
        ),
    ),
)
