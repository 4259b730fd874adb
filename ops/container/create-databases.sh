#!/bin/bash
# Run once by the postgres image: a database and a role for each service; a role cannot open another's database.
# The image runs this file in a shell of its own if it may be executed, and in the one that starts the server if not:
# hence the parentheses.
(
    set -eu
    ask() { psql -v ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres "$@"; }
    for name in order_service inventory_service payment_service finance_service psp; do
        password="$(cat "/run/secrets/${name%_service}_database_password")"
        ask -v name="$name" -v password="$password" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
    done
    ask -c "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC" -c "REVOKE CONNECT ON DATABASE template1 FROM PUBLIC"
)
