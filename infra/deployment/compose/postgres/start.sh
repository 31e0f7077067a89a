# Starts this PostgreSQL as what it has to be: as the primary, or as a standby of the other server if that is the
# primary. An empty volume is filled first by a copy, or by initdb if an operator says that this is the first start of
# all (FIRST=yes) and the other server does not answer. A server that was the primary and comes back after the other one
# was promoted follows that one, by pg_rewind.
#
# Two servers never both become the primary, in whichever order they start: one that was the primary, and of which the
# other one has a copy, starts as the primary only if the other one answers that it is a standby, or if an operator says
# so. One that has not been copied since it became the primary cannot have been replaced, and starts alone. So a standby
# does not start, and cannot be promoted, before the other one knows of it.
set -eu
umask 077
config=/run/vestnik/config
secrets=/run/vestnik/secrets
copy=$PGDATA.unfinished
rewinding=$PGDATA.rewinding
# A slot for replication is kept by its server alone: neither a copy of the server nor one that was rewound has it. This
# one is never used, so it keeps no changes.
copied=$PGDATA/pg_replslot/copied
# Of a standby: the other server knows of it. Beside the cluster, so that no copy has it.
noted=$PGDATA.noted
# In memory: each is good for one start.
word=/tmp/start-as-primary
word_of_standby=/tmp/start-as-standby
PGPASSWORD=$(cat $secrets/postgres.password)
export PGPASSWORD PGUSER=postgres PGDATABASE=postgres PGCONNECT_TIMEOUT=5
export PGSSLMODE=verify-full PGSSLROOTCERT=$secrets/tls-ca.pem
trap 'exit 0' INT TERM

ask_other() {
    timeout 10 psql --host "$OTHER" --no-psqlrc --no-align --tuples-only --command "$1" 2>/dev/null
}

# Prints `primary` or `standby`, or nothing if the other server does not answer.
role_of_other() {
    ask_other "SELECT CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'primary' END" || true
}

# The other server has to know before there is a copy that can be promoted.
note_copy() {
    ask_other "SELECT pg_create_physical_replication_slot('copied')
        WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'copied')" >/dev/null && touch "$noted"
}

rewind() {
    echo "$OTHER was promoted meanwhile: this server becomes its standby"
    # Until its first checkpoint as the primary, minutes later by itself, pg_rewind takes it for what it was before, and
    # does nothing: this server would have changes of its own, and never follow.
    until ask_other CHECKPOINT >/dev/null; do
        sleep 1
    done
    touch "$rewinding"
    note_copy
    # If this fails, remove the volume: the next start makes a copy.
    pg_rewind --target-pgdata "$PGDATA" --config-file $config/postgresql.conf \
        --source-server "host=$OTHER dbname=postgres" --write-recovery-conf --progress
    rm -rf "$copied" "$rewinding"
}

may_start_alone() {
    [ ! -e "$rewinding" ] && { [ ! -e "$copied" ] || [ -e $word ]; }
}

if [ ! -e "$PGDATA" ]; then
    rm -rf "$copy" "$noted"
    if [ "$FIRST" = yes ] && [ -z "$(role_of_other)" ]; then
        echo "the first start of all: making a new database"
        initdb --pgdata "$copy" --username postgres --pwfile $secrets/postgres.password --auth scram-sha-256 \
            --encoding UTF8 --locale C --data-checksums
    else
        waited=no
        until [ "$(role_of_other)" = primary ]; do
            if [ $waited = no ]; then
                waited=yes
                echo "the volume is empty: waiting for $OTHER to be the primary, to copy it; only the first start of" \
                    "all makes a new database (POSTGRES_1_FIRST=yes)"
            fi
            sleep 1
        done
        note_copy
        pg_basebackup --host "$OTHER" --pgdata "$copy" --write-recovery-conf --checkpoint fast
    fi
    rm -f "$rewinding"
    mv "$copy" "$PGDATA"
elif [ -e "$PGDATA/standby.signal" ]; then
    # Each time, as the other one may have been copied or promoted meanwhile, or be from before servers knew of copies.
    waited=no
    until note_copy || [ -e "$noted" ] || [ -e $word_of_standby ]; do
        if [ $waited = no ]; then
            waited=yes
            echo "waiting for $OTHER, which does not know yet that this server is a copy of it, and could start as a" \
                "second primary; if it never runs again: touch $word_of_standby"
        fi
        sleep 1
    done
    rm -f $word_of_standby || true
else
    waited=no
    until role=$(role_of_other) && [ "$role" = standby ]; do
        if [ "$role" = primary ]; then
            rewind
            break
        elif may_start_alone; then
            break
        elif [ $waited = no ]; then
            waited=yes
            echo "waiting for $OTHER, which has a copy of this server and may have been promoted; if it was not, and" \
                "cannot be started: touch $word"
        fi
        sleep 1
    done
    rm -f $word || true
fi
exec postgres -D "$PGDATA" -c config_file=$config/postgresql.conf -c hba_file=$config/pg_hba.conf
