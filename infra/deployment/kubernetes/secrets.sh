#!/bin/sh
# Prints the Secrets out of FOLDER, which `vestnik deployment-secrets FOLDER` made:
#   secrets.sh FOLDER | kubectl apply --server-side -f -
# A pod gets the files of its own service and no others. Run it again after each change in FOLDER.
set -eu
folder=$1

secret() {
    name=$1
    shift
    kubectl create secret generic "$name" --namespace=vestnik --dry-run=client --output=yaml "$@"
    echo ---
}

for service in $(ls "$folder"); do
    # The folders of services are those with a service's key.
    if [ -f "$folder/$service/service-$service.pem" ]; then
        set --
        for file in "$folder/$service"/*; do
            # The certificate of the server in front of the gateways is another one here.
            [ "${file##*/}" = edge.pem ] || set -- "$@" --from-file="$file"
        done
        secret "vestnik-$service" "$@"
    fi
done
# With the operator's password, since creating the streams is recorded in the operator's name.
secret vestnik-streams --from-file="$folder/topology" --from-file="$folder/secrets/nats-operator.password"
secret vestnik-postgres-logins --from-file="$folder/postgres/logins.sql" --from-file="$folder/postgres/tls-ca.pem"
# CloudNativePG notices changes only of Secrets with this label.
secret vestnik-postgres-tls --type=kubernetes.io/tls --from-file=tls.crt="$folder/postgres/server.pem" \
    --from-file=tls.key="$folder/postgres/server.key" --from-file=ca.crt="$folder/postgres/tls-ca.pem" |
    kubectl label --local --filename=- --output=yaml cnpg.io/reload=true
echo ---
secret nats-tls --type=kubernetes.io/tls --from-file=tls.crt="$folder/nats/server.pem" \
    --from-file=tls.key="$folder/nats/server.key" --from-file=ca.crt="$folder/nats/tls-ca.pem"
secret nats-accounts --from-file="$folder/nats/accounts.conf" --from-file="$folder/nats/cluster.conf"
