# Creates the database, and a login and a schema for each service; again after an update or with new passwords.
set -eu
PGPASSWORD=$(cat /run/vestnik/secrets/postgres.password)
export PGPASSWORD PGUSER=postgres PGDATABASE=postgres PGCONNECT_TIMEOUT=5
export PGSSLMODE=verify-full PGSSLROOTCERT=/run/vestnik/secrets/tls-ca.pem

psql --no-psqlrc --set ON_ERROR_STOP=1 --quiet <<'SQL'
SELECT 'CREATE DATABASE vestnik' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'vestnik') \gexec
SQL
psql --no-psqlrc --set ON_ERROR_STOP=1 --quiet --single-transaction --dbname vestnik \
    --file /run/vestnik/secrets/logins.sql
