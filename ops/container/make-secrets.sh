#!/bin/sh
# Writes a password of its own for every login of docker-compose.yml, and tells compose to use them.
#
#   ops/container/make-secrets.sh [FOLDER]      (.secrets/passwords)
#
# What exists already stays: a password that a database or a broker has once been started with is changed there first.
# The files can be read by everybody who can enter the folder, which is nobody else: containers see single files, and
# each of them as a user of its own.
set -eu
command -v openssl >/dev/null || { echo "openssl is missing: apt-get install openssl" >&2; exit 1; }
cd "$(dirname "$0")/../.."
folder="${1:-.secrets/passwords}"
umask 077
mkdir -p "$folder" .secrets/gateway
chmod 700 "$folder"

write() { # NAME, content on stdin
    if [ -e "$folder/$1" ]; then
        echo "kept     $folder/$1"
    else
        cat > "$folder/$1"
        chmod 444 "$folder/$1"
        echo "written  $folder/$1"
    fi
}
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

for name in broker_administrator_password broker_password broker_operator_password postgres_password \
    order_database_password inventory_database_password payment_database_password psp_database_password \
    order_replication_password inventory_replication_password payment_replication_password \
    psp_webhook_secret broker_cookie grafana_password; do
    random | write "$name"
done
openssl ecparam -name prime256v1 -genkey -noout | write jwt_signing_key
write broker_administrator.conf <<CONF
default_user = administrator
default_pass = $(cat "$folder/broker_administrator_password")
CONF

if ! grep -qs '^SECRETS_FOLDER=' .env; then
    echo "SECRETS_FOLDER=$folder" >> .env
    echo "written  SECRETS_FOLDER=$folder to .env"
fi
