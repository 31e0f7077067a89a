"""PostgreSQL roles: one login and one schema per service, and one operator login that may act for all of them.

A service's schema holds its read models and the engine's tables for them. The login may create tables there and sees
nothing else. It does not own the schema, so it can neither drop it nor grant access to it. A login's schema has the
same name, which is how each connection finds its own through the search path.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit, urlunsplit

from contracts.services import OPERATOR, SERVICES
from infra.security.secrets import DATABASE_PARTIES

# By default every login may connect to `postgres` and `template1`; that right is revoked. Other databases may not be
# ours: they only cause a warning.
_OTHER_DATABASES = """\
DO $$ DECLARE other name; BEGIN
  FOR other IN SELECT datname FROM pg_database
    WHERE datallowconn AND datname <> current_database() AND has_database_privilege('public', oid, 'CONNECT')
  LOOP
    IF other IN ('postgres', 'template1') THEN EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', other);
    ELSE RAISE WARNING 'every login may connect to the database %, those of Vestnik too', other;
    END IF;
  END LOOP;
END $$"""
_MAKE_LARGE_OBJECTS = (
    "pg_catalog.lo_creat(integer)",
    "pg_catalog.lo_create(oid)",
    "pg_catalog.lo_from_bytea(oid, bytea)",
    "pg_catalog.lo_import(text)",
    "pg_catalog.lo_import(text, oid)",
)
_ITERATIONS = 4096
_SALT_BYTES = 16


def role_of(party: str) -> str:
    """The name of the party's login and, for a service, of its schema."""
    return f"vestnik_{party}"


def url_of(database_url: str, party: str, password: str) -> str:
    """The URL of the same database with the party's login; all hosts and other parameters stay."""
    parts = urlsplit(database_url)
    hosts = parts.netloc.rpartition("@")[2]
    # A login in the query would override the one before the hosts.
    parameters = [field for field in parts.query.split("&") if field.partition("=")[0] not in ("user", "password")]
    return urlunsplit(
        parts._replace(netloc=f"{role_of(party)}:{password}@{hosts}", query="&".join(parameters)),
    )


def statements(database: str, passwords: Mapping[str, str]) -> Iterator[str]:
    """Yields the SQL statements that grant all rights, for a superuser connected to this database.

    Idempotent: a repeated run sets the given passwords. The statements contain SCRAM verifiers, no passwords.
    """
    name = '"' + database.replace('"', '""') + '"'
    for party in DATABASE_PARTIES:
        role = role_of(party)
        yield (
            f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}')"
            f" THEN CREATE ROLE {role}; END IF; END $$"
        )
        yield f"ALTER ROLE {role} LOGIN PASSWORD '{verifier(passwords[party])}'"
    # The operator acts for each service by SET ROLE, so what it creates then belongs to that service. Memberships keep
    # the inheritance that they were granted with (PostgreSQL 16 and newer), so they are granted again.
    services = ", ".join(role_of(service) for service in SERVICES if service != OPERATOR)
    yield f"ALTER ROLE {role_of(OPERATOR)} NOINHERIT"
    operator = role_of(OPERATOR)
    member = f"EXISTS (SELECT FROM pg_auth_members WHERE member = '{operator}'::regrole)"
    yield f"DO $$ BEGIN IF {member} THEN REVOKE {services} FROM {operator}; END IF; END $$"
    yield f"GRANT {services} TO {operator}"
    roles = ", ".join(map(role_of, DATABASE_PARTIES))
    yield f"REVOKE ALL ON DATABASE {name} FROM PUBLIC"
    # Verification builds its shadow in temporary tables.
    yield f"GRANT CONNECT, TEMPORARY ON DATABASE {name} TO {roles}"
    # For the schemas in which read models as of a past moment are built.
    yield f"GRANT CREATE ON DATABASE {name} TO {role_of(OPERATOR)}"
    yield _OTHER_DATABASES
    yield f"REVOKE EXECUTE ON FUNCTION {', '.join(_MAKE_LARGE_OBJECTS)} FROM PUBLIC"
    yield "REVOKE CREATE ON SCHEMA public FROM PUBLIC"
    for service in SERVICES:
        role = role_of(service)
        yield f"CREATE SCHEMA IF NOT EXISTS {role}"
        yield f"GRANT USAGE, CREATE ON SCHEMA {role} TO {role}"
        if service == OPERATOR:
            continue
        yield f"ALTER ROLE {role} IN DATABASE {name} SET search_path = {role}"
        # The operator reads existing and future tables.
        yield f"GRANT USAGE ON SCHEMA {role} TO {role_of(OPERATOR)}"
        yield f"GRANT SELECT ON ALL TABLES IN SCHEMA {role} TO {role_of(OPERATOR)}"
        yield (
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {role} IN SCHEMA {role} GRANT SELECT ON TABLES TO {role_of(OPERATOR)}"
        )
    # Operators query read models without naming schemas; `public` first, so that no table is created by accident. The
    # operator's process names its own schema when it connects.
    looked_for = ", ".join(["public", *map(role_of, SERVICES)])
    yield f"ALTER ROLE {role_of(OPERATOR)} IN DATABASE {name} SET search_path = {looked_for}"


def verifier(password: str) -> str:
    """The SCRAM-SHA-256 verifier (RFC 5803) that a server stores for a password; it cannot be used to log in."""
    salt = secrets.token_bytes(_SALT_BYTES)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${_ITERATIONS}:{_text(salt)}${_text(stored)}:{_text(server)}"


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
