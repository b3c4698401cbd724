#!/bin/sh
# Get a certificate for KERAPORT_DOMAIN over webroot, and renew it. nginx answers the challenges
# from the same volume, and loads the certificate without further action.
set -eu

HOME_DIR=/var/lib/keraport/acme
say() {
    echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) acme: $*" >&2
}

trap 'exit 0' TERM INT
pause() { # sleeps, but ends at once on SIGTERM
    sleep "$1" &
    wait $!
}

set --
for domain in $(echo "${KERAPORT_DOMAIN:-}" | tr ',' ' '); do
    set -- "$@" --domain "$domain"
done
if [ $# = 0 ]; then
    say "ERROR: set KERAPORT_DOMAIN in .env to the public name of this server"
    pause 3600
    exit 1
fi
if [ -n "${KERAPORT_ACME_EMAIL:-}" ]; then
    set -- "$@" --email "$KERAPORT_ACME_EMAIL"
else
    set -- "$@" --register-unsafely-without-email
fi

mkdir -p "$HOME_DIR/webroot"
while :; do
    if certbot certonly --quiet --non-interactive --agree-tos --keep-until-expiring \
        --webroot --webroot-path "$HOME_DIR/webroot" --cert-name keraport --expand \
        --server "$KERAPORT_ACME_SERVER" --config-dir "$HOME_DIR" \
        --work-dir /tmp/certbot --logs-dir /tmp/certbot "$@"; then
        say "the certificate is valid; checking again in 12 hours"
        pause 43200
    else
        # Let's Encrypt allows five failures an hour.
        say "ERROR: no certificate, see above; trying again in an hour"
        pause 3600
    fi
done
