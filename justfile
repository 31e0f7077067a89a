set positional-arguments

# List the chores
[private]
default:
    @just --justfile '{{justfile()}}' --list --unsorted

# Run the whole of Vestnik on this machine: NATS, PostgreSQL, every service, the gateway
up *args:
    @exec vestnik up "$@"

# Run any vestnik command, such as `./just vestnik status`
vestnik *args:
    @exec vestnik "$@"

# Run the tests, and those that failed once more; arguments go to pytest
test *args:
    @exec python -m tests.suite "$@"

# Upgrade a running system from the last release to this tree under traffic, process by process, and back
upgrade-test *args:
    @exec python -m tests.suite tests/upgrade/rolling_upgrade.py -n 0 --capture=no --quiet "$@"

# Check style, types, imports, generated code, released event schemas and the lock; no file has marks of a merge conflict
check:
    ! git grep --line-number --extended-regexp '^(<<<<<<<|[|]{7}|=======|>>>>>>>)( |$)'
    ruff check
    ruff format --check
    mypy
    lint-imports --no-cache
    python -m infra.devtools.generate_rpc --check
    python -m infra.devtools.generate_reference --check
    python -m infra.devtools.event_schemas --check
    python -m infra.devtools.requirements_lock --check

# Rehearse the deployment of compose.yaml on hosts in network namespaces, with everything that may fail; needs root
rehearse *args:
    @exec python -m tests.rehearsal "$@"

# Run the deployment of compose.yaml under traffic and faults from a seeded schedule; --short, --only FAULT; needs root
faults *args:
    @exec python -m tests.faults "$@"

# Make a read model and its test, such as `./just new-projection hours_of_day`; --query also shows it to clients
new-projection *args:
    @python -m infra.devtools.scaffold_projection "$@"

# Format the code and repair what can be repaired
fmt:
    ruff check --fix-only
    ruff format

# Generate contracts/rpc from the .proto files, and the reference pages from the code
gen:
    python -m infra.devtools.generate_rpc
    python -m infra.devtools.generate_reference

# Release today's event schemas: from then on ./just check refuses what breaks their readers
release-schemas:
    python -m infra.devtools.event_schemas

# Bring the locks up to date with pyproject.toml
lock *args:
    @python -m infra.devtools.requirements_lock "$@"

# Look for known weaknesses in the locked packages; asks the package index about each
audit *args:
    @python -m venv --clear .venv/audit
    @.venv/audit/bin/python -m pip install --quiet --require-hashes --requirement requirements-audit.lock
    @.venv/audit/bin/pip-audit --require-hashes --disable-pip --requirement requirements.lock "$@"

# Print the software bill of materials (CycloneDX) out of the locks; --lock FILE: of that one alone
sbom *args:
    @python -m infra.devtools.sbom "$@"

# Build the wheel that a machine in production installs, into dist/
wheel:
    @python -m pip wheel --quiet --no-deps --no-index --no-build-isolation --wheel-dir dist .

# `./just image --check` lints the Containerfile, runs its steps without a container engine, and starts the result
image *args:
    @python -m infra.devtools.image "$@"

# Take the pictures that the docs show, with invented people; needs Chromium
pictures *args:
    @python -m tests.browser.pictures "$@"

# Search for faults with simulated servers in virtual time, such as `./just simulate --minutes 10`
simulate *args:
    @python -m tests.simulation "$@"

# Measure one part, such as `./just bench commands`; its options follow
bench name *args:
    @shift; python -m tests.bench.{{name}} "$@"
