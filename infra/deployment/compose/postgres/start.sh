# Starts this PostgreSQL as what it has to be: as the primary, or as a standby of the other server if that is the
# primary. An empty volume is filled first: of the server with FIRST=yes by initdb, of any other by a copy. A server that
# was the primary and comes back after the other one was promoted follows that one, by pg_rewind.
set -eu
umask 077
config=/run/vestnik/config
secrets=/run/vestnik/secrets
copy=$PGDATA.unfinished
PGPASSWORD=$(cat $secrets/postgres.password)
export PGPASSWORD PGUSER=postgres PGDATABASE=postgres PGCONNECT_TIMEOUT=5
export PGSSLMODE=verify-full PGSSLROOTCERT=$secrets/tls-ca.pem

other_is_primary() {
    [ "$(psql --host "$OTHER" --no-psqlrc --no-align --tuples-only \
        --command 'SELECT NOT pg_is_in_recovery()' 2>/dev/null)" = t ]
}

if [ ! -e "$PGDATA" ]; then
    rm -rf "$copy"
    if [ "$FIRST" = yes ] && ! other_is_primary; then
        initdb --pgdata "$copy" --username postgres --pwfile $secrets/postgres.password --auth scram-sha-256 \
            --encoding UTF8 --locale C --data-checksums
    else
        until other_is_primary; do
            echo "waiting for the primary at $OTHER"
            sleep 1
        done
        pg_basebackup --host "$OTHER" --pgdata "$copy" --write-recovery-conf --checkpoint fast
    fi
    mv "$copy" "$PGDATA"
elif [ ! -e "$PGDATA/standby.signal" ] && other_is_primary; then
    echo "$OTHER was promoted meanwhile: this server becomes its standby"
    # If this fails, remove the volume: the next start makes a copy.
    pg_rewind --target-pgdata "$PGDATA" --config-file $config/postgresql.conf \
        --source-server "host=$OTHER dbname=postgres" --write-recovery-conf --progress
fi
exec postgres -D "$PGDATA" -c config_file=$config/postgresql.conf -c hba_file=$config/pg_hba.conf
