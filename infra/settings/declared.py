"""Every setting of every process, with its type, default and description, in the order in which they are shown.

The field `port` is the environment variable `VESTNIK_PORT`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from contracts import deadlines

PortNumber = Annotated[int, Meta(ge=0, le=65535)]
Doc = Meta  # `Doc(description=…)` reads better than `Meta` where a setting is declared


class DeclaredSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of `Settings`; `vestnik settings` and docs/reference/settings.md show them."""

    data_dir: Annotated[
        Path, Doc(description="Where `vestnik up` keeps everything: streams, database, mail, keys.")
    ] = Path(".vestnik")
    host: Annotated[str, Doc(description="Address that the gateway listens on.")] = "127.0.0.1"
    port: Annotated[PortNumber, Doc(description="Port that the gateway listens on.")] = 8080
    public_url: Annotated[
        str,
        Doc(
            description="The gateway's address as clients see it: the issuer of tokens, and the base of links in "
            "mails. Empty: host and port."
        ),
    ] = ""
    replicas: Annotated[int, Doc(ge=1, le=16, description="Processes of each service in `vestnik up`.")] = 1
    nats_url: Annotated[
        str,
        Doc(
            description="NATS servers to use, comma-separated; empty: `vestnik up` starts one. `tls://` refuses "
            "servers without TLS."
        ),
    ] = ""
    nats_ca: Annotated[
        str,
        Doc(
            description="PEM file of the authorities that sign the certificates of the NATS servers; servers without "
            "TLS are refused. Empty: those of the system. The file, as the two below, is read at each connection."
        ),
    ] = ""
    nats_certificate: Annotated[
        str, Doc(description="PEM file of the client certificate for NATS servers that ask for one; empty: none.")
    ] = ""
    nats_key: Annotated[
        str, Doc(description="PEM file of its key, not encrypted; empty: it is in the file of the certificate.")
    ] = ""
    database_url: Annotated[
        str,
        Doc(
            description="PostgreSQL database to use, with the login of the process that uses it (the gateway "
            "needs none); empty: `vestnik up` starts one. Parameters of libpq such as `?sslmode=verify-full` and "
            "several hosts with `?target_session_attrs=read-write` are allowed."
        ),
    ] = ""
    smtp_url: Annotated[
        str,
        Doc(
            description="Mail server: `smtp://user:password@host:587` (STARTTLS) or `smtps://…` (TLS from the "
            "start). With a login, or a host other than this machine, TLS is required; "
            "`?tls=opportunistic` uses it only if the server offers it, `?tls=off` never. The "
            "certificate must be valid for the host; `SSL_CERT_FILE` names the trusted authorities. "
            "Empty: each mail is written to an .eml file in `<data dir>/mail/`."
        ),
    ] = ""
    mail_from: Annotated[str, Doc(description="Sender of the mails.")] = "Vestnik <no-reply@localhost>"
    mails_an_hour: Annotated[
        int,
        Doc(
            ge=1,
            le=1000,
            description="Maximum number of mails of one kind per mailbox and hour, since third parties can cause "
            "them; more are dropped.",
        ),
    ] = 10
    data_export_mb: Annotated[
        int,
        Doc(
            ge=1,
            le=1024,
            description="Largest file with a copy of a user's data, in MiB; a larger one fails. All users' files "
            "together have 2 GiB. A copy beyond that waits until older files expire, 27 hours after they were stored; "
            "without room within a day it fails.",
        ),
    ] = 512
    show_mail: Annotated[
        Literal["auto", "on", "off"],
        Doc(
            description="Whether the gateway shows the mails in the folder, for development, to requests from its "
            "own machine with a loopback host name; `auto`: only under `vestnik up`, on a loopback "
            "address without a public one or proxies, and without an SMTP server."
        ),
    ] = "auto"
    operator_totp: Annotated[
        Literal["auto", "on", "off"],
        Doc(
            description="Whether operators need two-step verification; `auto`: yes, except under `vestnik up` on a "
            "loopback address without a public one or proxies."
        ),
    ] = "auto"
    bcrypt_cost: Annotated[int, Doc(ge=4, le=16, description="Cost of password hashes; 12 takes a core 0.2 s.")] = 12
    rate_limits: Annotated[Literal["on", "off"], Doc(description="`off` only for load tests.")] = "on"
    daily_bytes: Annotated[
        int,
        Doc(
            ge=0,
            le=1 << 50,
            description="Bytes that a user may send per day with messages and other changes, half of them in one "
            "burst; 0: no limit.",
        ),
    ] = 256 * 1024 * 1024
    edit_window_hours: Annotated[
        int, Doc(ge=0, le=1_000_000, description="How long after it was sent a message can be edited; 0: not at all.")
    ] = 48
    delete_window_hours: Annotated[
        int, Doc(ge=0, le=1_000_000, description="How long after it was sent a message can be deleted; 0: always.")
    ] = 0
    message_retention_days: Annotated[
        float,
        Doc(
            ge=0,
            le=36_500,
            description="How many days messages are kept: older ones are deleted, and the keys of their texts are "
            "destroyed once the month in which they were sent is as old; 0: for ever.",
        ),
    ] = 0.0
    address_retention_days: Annotated[
        float,
        Doc(
            ge=0,
            le=36_500,
            description="How many days the network addresses and devices of new logins and failed logins are kept; 0: "
            "as long as the account. Set it when no process of a release until 0.3 runs any more.",
        ),
    ] = 0.0
    pending_friend_requests: Annotated[
        int,
        Doc(ge=1, le=100_000, description="Maximum number of a user's friend requests that await an answer."),
    ] = 500
    friend_request_remind_days: Annotated[
        float,
        Doc(
            ge=0,
            le=3650,
            description="After how many days the addressee of an unanswered friend request is reminded of it, once; "
            "0: never.",
        ),
    ] = 7.0
    friend_request_cancel_days: Annotated[
        float,
        Doc(
            ge=0,
            le=3650,
            description="After how many days an unanswered friend request is cancelled; 0: never. One that is reminded "
            "of late lasts as much longer.",
        ),
    ] = 14.0
    report_days: Annotated[
        int,
        Doc(
            ge=0,
            le=3650,
            description="How many days after its settlement operators can read the texts of a report.",
        ),
    ] = 90
    anomaly_account_failures: Annotated[
        int,
        Doc(
            ge=0,
            le=1_000_000,
            description="From how many failed logins to one account in a clock hour on these are an anomaly; 0: never.",
        ),
    ] = 20
    anomaly_address_failures: Annotated[
        int,
        Doc(
            ge=0,
            le=1_000_000,
            description="From how many failed logins from one address in a clock hour on, to all accounts together, "
            "these are an anomaly; 0: never.",
        ),
    ] = 50
    anomaly_operator_exports: Annotated[
        int,
        Doc(
            ge=0,
            le=1_000_000,
            description="From how many exports by one operator in a clock hour on these are an anomaly; 0: never.",
        ),
    ] = 3
    anomaly_operator_looks: Annotated[
        int,
        Doc(
            ge=0,
            le=1_000_000,
            description="From how many looks of one operator in a clock hour on, at persons, logins, events and "
            "reports, these are an anomaly; 0: never.",
        ),
    ] = 200
    rpc_tls: Annotated[
        Literal["on", "off"],
        Doc(description="`on`: services use TLS between each other, with certificates on both sides."),
    ] = "off"
    cors_origins: Annotated[
        str,
        Doc(
            pattern=r"^(\*|\s*https?://[^\s,/]+/?\s*(,\s*https?://[^\s,/]+/?\s*)*)?$",
            description="Origins whose web pages may use the gateway from a browser, comma-separated; `*`: all; "
            "empty: none.",
        ),
    ] = ""
    hsts_seconds: Annotated[
        int,
        Doc(
            ge=0,
            le=63_072_000,
            description="For how long browsers use only https for this host (Strict-Transport-Security); 0: no "
            "header. Only behind a proxy with TLS.",
        ),
    ] = 0
    connections: Annotated[
        int, Doc(ge=1, le=1_000_000, description="Maximum number of open client connections of a gateway.")
    ] = 20_000
    connections_per_address: Annotated[
        int,
        Doc(
            ge=0,
            le=1_000_000,
            description="Maximum number of those from one address; 0: no limit. Not counted behind trusted proxies.",
        ),
    ] = 10_000
    trusted_hops: Annotated[
        int,
        Doc(
            ge=0,
            le=16,
            description="Proxies in front of the gateway, each of which appends to X-Forwarded-For; the client's "
            "address is that many entries from its end. 0: the header is ignored.",
        ),
    ] = 0
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Doc(description="Lowest level that is logged.")
    ] = "info"
    log_format: Annotated[
        Literal["text", "json"],
        Doc(
            description="Format of the logs: `text` for people, or `json` for a collector, one object a line with the "
            "ids of the request and of its trace and a digest of the user."
        ),
    ] = "text"
    secrets_dir: Annotated[
        str, Doc(description="Folder of keys and passwords, created if missing. Empty: `<data dir>/secrets`.")
    ] = ""
    access_token_seconds: Annotated[int, Doc(ge=10, le=86_400, description="How long an access token is valid.")] = 900
    access_key_lead_seconds: Annotated[
        int,
        Doc(
            ge=2,
            le=86_400,
            description="How long a new key of access tokens is published before it signs: longer than clients "
            "may cache the key set (5 minutes, by its response header).",
        ),
    ] = 600
    revocation_silence_seconds: Annotated[
        float,
        Doc(
            ge=2,
            le=300,
            description="How long a gateway accepts tokens while the session stream is unreachable; after that it "
            "refuses all tokens and ends live streams.",
        ),
    ] = 5.0
    session_days: Annotated[int, Doc(ge=1, le=3650, description="How long a session lasts after its last refresh.")] = (
        30
    )
    session_longest_days: Annotated[
        int, Doc(ge=1, le=3650, description="Maximum age of a session, however often it is refreshed.")
    ] = 90
    password_reset_minutes: Annotated[
        int, Doc(ge=5, le=1440, description="How long a password reset token is valid.")
    ] = 60
    audit_address: Annotated[
        Literal["full", "prefix", "none"],
        Doc(
            description="How much of the network address of a login, or of an operator on the page, is recorded "
            "permanently: all of it, its network (/24 of IPv4, /48 of IPv6), or none."
        ),
    ] = "full"
    verification_hours: Annotated[
        int,
        Doc(ge=1, le=720, description="How long a registration can be verified and reserves its username."),
    ] = 24
    erasure_grace_days: Annotated[
        float,
        Doc(
            ge=0,
            le=365,
            description="How many days after its user's request an account is erased; a login until then cancels it. "
            "0: at once.",
        ),
    ] = 14.0
    name_reuse_days: Annotated[
        float,
        Doc(
            ge=0,
            le=3650,
            description="How many days after the erasure of an account another one can use its name and addresses.",
        ),
    ] = 30.0
    head_seconds: Annotated[
        float,
        Doc(
            ge=1,
            le=3600,
            description="After how many seconds with new events the notary signs the next tree head of a stream.",
        ),
    ] = 10.0
    heads_folder: Annotated[
        str,
        Doc(
            description="Folder to which the notary also writes every signed head, a file a day, for those who keep "
            "heads outside of the system; empty: none."
        ),
    ] = ""
    stream_replicas: Annotated[
        Literal[1, 3, 5],
        Doc(
            description="NATS servers that keep a copy of each stream; the same for every process. With more than "
            "one, a process refuses commands while its NATS node may be cut off from the others."
        ),
    ] = 1
    stream_placement: Annotated[
        str,
        Doc(
            pattern=r"^[A-Za-z0-9_-]*(/[A-Za-z0-9_:-]+(,[A-Za-z0-9_:-]+)*)?$",
            description="Which NATS servers may hold the streams: `CLUSTER`, `CLUSTER/TAG,TAG` or `/TAG,TAG`; "
            "empty: any. If a stream is placed elsewhere, the start fails: move the stream by hand.",
        ),
    ] = ""
    # Where the services answer, by key of DEFAULT_ADDRESSES; one that is left out gets its default. In the environment
    # each is a variable of its own, as `VESTNIK_AUTH_ADDRESS`.
    addresses: Mapping[str, str] = {}
    listen: Annotated[
        str,
        Doc(description="`host:port` where this process listens; empty: the first of the service's addresses."),
    ] = ""
    rest_listen: Annotated[
        str,
        Doc(description="`host:port` where this process serves REST; empty: the first of profile_rest_address."),
    ] = ""
    metrics_listen: Annotated[
        str,
        Doc(
            description="`host:port` where this process serves `/metrics` for Prometheus, and `/livez` and, unless it "
            "is a gateway, `/readyz` for probes; empty: on the loopback, 1,000 above its own port; `off`: nowhere."
        ),
    ] = ""
    listen_shared: Annotated[
        Literal["on", "off"],
        Doc(description="`on`: the supervisor keeps the addresses above bound for this process (SO_REUSEPORT)."),
    ] = "off"
    listen_fd: Annotated[
        int,
        Doc(
            ge=-1,
            description="An open listening socket that the gateway inherits; -1: it opens host and port itself.",
        ),
    ] = -1
    stop_delay_seconds: Annotated[
        float,
        Doc(
            ge=0,
            le=300,
            description="How long a gateway that is stopped goes on accepting requests before it drains: `/readyz` "
            "answers 503, and each answer closes its connection, so that balancers use another gateway. Longer than "
            "they take to notice; 0: not at all.",
        ),
    ] = 0.0
    drain_seconds: Annotated[
        float,
        Doc(
            gt=0,
            le=300,
            description="How long running requests may take to finish when the process stops. A request takes "
            f"{deadlines.REQUEST:.0f} at most; with a shorter time some are aborted and answered 504.",
        ),
    ] = deadlines.DRAIN
    hang_seconds: Annotated[
        float,
        Doc(
            ge=0,
            le=300,
            description="`vestnik up` ends and restarts a process whose event loop has not turned for as long, not "
            "counting time for which the machine was too busy to run it; 0: never, for work with a debugger.",
        ),
    ] = 5.0
    heartbeat_fd: Annotated[
        int,
        Doc(ge=-1, description="A pipe for signs of life that the process inherits from its supervisor; -1: none."),
    ] = -1
