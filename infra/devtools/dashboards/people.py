"""What do people do, and does someone attack their accounts?"""

from infra.devtools.dashboards.dashboard import Dashboard, Panel, Query, Section, stat


def _requests(routes: str, method: str, status: str, window: str = "$__rate_interval", function: str = "rate") -> str:
    matches = "=~" if "|" in routes else "="
    return (
        f'sum({function}(vestnik_http_requests_total{{route{matches}"{routes}", method="{method}", status=~"{status}"}}'
        f"[{window}]))"
    )


_LOGIN = "/v1/sessions|/v1/browser/sessions"
_REFRESH = "/v1/sessions/refresh|/v1/browser/sessions/refresh"
_GUESSES = 'limit=~"(login|password|code|register|reset|verify).*"'
_SEND = "/v1/conversations/{user_id}/messages"

PEOPLE = Dashboard(
    name="people",
    title="people and trust",
    description="Registrations, logins and their failures, messages, anomalies. No metric identifies a person.",
    sections=(
        Section(
            "At a glance",
            (
                stat(
                    "Registrations, 1 h",
                    "Accounts registered, verified or not.",
                    _requests("/v1/users", "POST", "201", "1h", "increase") + " or vector(0)",
                ),
                stat(
                    "Logins, 1 h",
                    "Sessions begun with a password.",
                    _requests(_LOGIN, "POST", "201", "1h", "increase") + " or vector(0)",
                ),
                stat(
                    "Failed logins, 1 h",
                    "Wrong passwords, codes or unknown accounts.",
                    _requests(_LOGIN, "POST", "401", "1h", "increase") + " or vector(0)",
                ),
                stat(
                    "Messages, 1 h",
                    "Messages sent over REST; those over WebSocket are in the events of MESSAGING.",
                    _requests(_SEND, "POST", "201", "1h", "increase") + " or vector(0)",
                ),
                stat(
                    "Online",
                    "Users known to be online at any gateway.",
                    'max(vestnik_presence_users{at="all"})',
                ),
                stat(
                    "Anomalies, 1 h",
                    "Anomalies of the last hour. Runbook: anomalies.md.",
                    "sum(max by (rule) (vestnik_anomalies))",
                    bad_from=1,
                ),
            ),
        ),
        Section(
            "Accounts",
            (
                Panel(
                    title="Registrations",
                    description="Do people arrive, and do they verify their addresses?",
                    queries=(
                        Query(_requests("/v1/users", "POST", "201"), "registered"),
                        Query(_requests("/v1/users/verify-email", "POST", "204"), "verified"),
                        Query(_requests("/v1/users/verify-email/not-me", "POST", "204"), "not me"),
                    ),
                    unit="reqps",
                ),
                Panel(
                    title="Logins",
                    description="Do logins succeed? Many failures may be a broken client, or an attack.",
                    queries=(
                        Query(_requests(_LOGIN, "POST", "201"), "succeeded"),
                        Query(_requests(_LOGIN, "POST", "401"), "failed"),
                        Query(_requests(_LOGIN, "POST", "429"), "limited"),
                    ),
                    unit="reqps",
                ),
                Panel(
                    title="Refreshed sessions",
                    description="Do sessions go on? A refresh token that was used before is answered 401.",
                    queries=(
                        Query(_requests(_REFRESH, "POST", "200"), "refreshed"),
                        Query(_requests(_REFRESH, "POST", "401"), "refused"),
                    ),
                    unit="reqps",
                ),
            ),
        ),
        Section(
            "Trust",
            (
                Panel(
                    title="Anomalies by rule",
                    description="Which rule found something in the last hour? Runbook: anomalies.md.",
                    queries=(Query("max by (rule) (vestnik_anomalies)", "{{rule}}"),),
                ),
                Panel(
                    title="Limits on guesses",
                    description="Are passwords, codes or tokens guessed? Runbook: under-attack.md.",
                    queries=(
                        Query(
                            f"sum by (limit) (rate(vestnik_rate_limited_total{{{_GUESSES}}}[$__rate_interval]))",
                            "{{limit}}",
                        ),
                    ),
                    unit="reqps",
                ),
                Panel(
                    title="Password changes",
                    description="Do people change or reset their passwords? A peak after an incident is expected.",
                    queries=(
                        Query(_requests("/v1/users/me/password", "PUT", "204"), "changed"),
                        Query(_requests("/v1/users/password-reset", "POST", "202"), "reset requested"),
                        Query(_requests("/v1/users/password-reset/confirm", "POST", "204"), "reset"),
                    ),
                    unit="reqps",
                ),
            ),
        ),
        Section(
            "Use",
            (
                Panel(
                    title="Messages sent",
                    description="How much do people write?",
                    queries=(Query(_requests(_SEND, "POST", "201"), "over REST"),),
                    unit="reqps",
                ),
                Panel(
                    title="Friends and blocks",
                    description="Do people find each other, and keep others away?",
                    queries=(
                        Query(_requests("/v1/friends/{user_id}", "PUT", "20."), "requested or accepted"),
                        Query(_requests("/v1/friends/{user_id}", "DELETE", "204"), "removed"),
                        Query(_requests("/v1/blocks/{user_id}", "PUT", "204"), "blocked"),
                        Query(_requests("/v1/reports", "POST", "202"), "reported"),
                    ),
                    unit="reqps",
                ),
                Panel(
                    title="People online",
                    description="How many people are online, and at which gateway?",
                    queries=(
                        Query('max(vestnik_presence_users{at="all"})', "all"),
                        Query('vestnik_presence_users{at="here"}', "{{instance}}"),
                    ),
                ),
            ),
        ),
    ),
)
