#!/bin/bash
# The part of the official image's entry point that the manifests use: without a database in PGDATA,
# create the user and the database of POSTGRES_*; then run the server with the arguments.
set -euo pipefail
case "${1:-postgres}" in
postgres) shift ;;
-*) ;;
*) exec "$@" ;;
esac
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    password=$(mktemp)
    printf '%s\n' "$POSTGRES_PASSWORD" > "$password"
    initdb --pgdata="$PGDATA" --username="$POSTGRES_USER" --pwfile="$password" \
        --auth-local=trust --auth-host=scram-sha-256
    rm "$password"
    echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
    # Single-user mode: no client can connect before the database exists.
    echo "CREATE DATABASE \"$POSTGRES_DB\"" | postgres --single -D "$PGDATA" postgres
fi
exec postgres -D "$PGDATA" -c 'listen_addresses=*' "$@"
