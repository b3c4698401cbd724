#!/bin/sh
# Choose the certificate that nginx serves, and replace it when it changes.
#
#   certificates.sh install   before nginx starts: install the first usable one
#   certificates.sh watch     while nginx runs: check every few seconds and reload nginx
#
# 1. /certs/fullchain.pem and privkey.pem, mounted by the operator
# 2. /var/lib/keraport/acme/live/keraport/, from the profile `acme`
# 3. /var/lib/keraport/self-signed/, created here
#
# nginx gets a copy of each certificate in a separate folder, so that it never reads a file that is
# being written, and a bad new certificate does not affect the old one.
set -eu

MOUNTED=/certs
ACME=/var/lib/keraport/acme/live/keraport
SELF_SIGNED=/var/lib/keraport/self-signed
RUN=/tmp/keraport
CONF=$RUN/certificate.conf
INTERVAL_S=3

say() {
    echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) certificates: $*" >&2
}

# --- the self-signed one --------------------------------------------------------------------------

# Print the names and addresses of the certificate, in the form of subjectAltName.
names() {
    echo "$(echo "${KERAPORT_DOMAIN:-}" | tr ',' ' ') localhost 127.0.0.1 ::1 $(hostname -I 2>/dev/null || true)" |
        tr -s ' ' '\n' | awk 'NF && !seen[$0]++ {
            kind = ($0 ~ /:/ || $0 ~ /^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$/) ? "IP" : "DNS"
            printf "%s%s:%s", (n++ ? "," : ""), kind, $0
        }'
}

# Create it, unless one exists for these names that is valid for another 30 days.
self_signed() {
    wanted=$(names)
    if [ "$(cat "$SELF_SIGNED/names" 2>/dev/null)" = "$wanted" ] &&
        openssl x509 -in "$SELF_SIGNED/fullchain.pem" -noout -checkend 2592000 >/dev/null 2>&1; then
        return
    fi
    rm -rf "$SELF_SIGNED.new"
    mkdir -p "$SELF_SIGNED.new"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 397 \
        -subj "/CN=Keraport self-signed" -addext "subjectAltName=$wanted" \
        -addext "basicConstraints=critical,CA:FALSE" -addext "extendedKeyUsage=serverAuth" \
        -keyout "$SELF_SIGNED.new/privkey.pem" -out "$SELF_SIGNED.new/fullchain.pem" 2>/dev/null
    echo "$wanted" >"$SELF_SIGNED.new/names"
    rm -rf "$SELF_SIGNED"
    mv "$SELF_SIGNED.new" "$SELF_SIGNED"
    say "created a self-signed certificate for $wanted"
}

# --- the candidates -------------------------------------------------------------------------------

# Print the first folder that has files, whether or not they are usable.
source_folder() {
    for folder in "$MOUNTED" "$ACME"; do
        if [ -e "$folder/fullchain.pem" ] || [ -e "$folder/privkey.pem" ]; then
            echo "$folder"
            return
        fi
    done
    echo "$SELF_SIGNED"
}

fingerprint() { # fingerprint FOLDER: changes with any byte of the two files
    { echo "$1"; cat "$1/fullchain.pem" "$1/privkey.pem" 2>&1 || true; } | sha256sum | cut -c1-16
}

# Print the problem with the pair in a folder, or nothing.
problem() { # problem FOLDER
    for file in fullchain.pem privkey.pem; do
        [ -e "$1/$file" ] || { echo "$file is missing"; return; }
        [ -r "$1/$file" ] || { echo "$file cannot be read by user $(id -u): chown or chmod it"; return; }
    done
    openssl x509 -in "$1/fullchain.pem" -noout 2>/dev/null ||
        { echo "fullchain.pem is not a certificate in PEM form"; return; }
    openssl pkey -in "$1/privkey.pem" -noout -passin pass: 2>/dev/null ||
        { echo "privkey.pem is not a private key in PEM form, or it has a passphrase"; return; }
    [ "$(openssl x509 -in "$1/fullchain.pem" -noout -pubkey)" = \
        "$(openssl pkey -in "$1/privkey.pem" -pubout -passin pass:)" ] ||
        { echo "privkey.pem is not the key of fullchain.pem"; return; }
    openssl x509 -in "$1/fullchain.pem" -noout -checkend 0 >/dev/null ||
        { echo "it expired on $(openssl x509 -in "$1/fullchain.pem" -noout -enddate | cut -d= -f2)"; return; }
}

describe() { # describe FOLDER
    openssl x509 -in "$1/fullchain.pem" -noout -subject -enddate | tr '\n' ' '
}

# HSTS would lock browsers out of a server whose certificate they do not accept.
hsts() { # hsts FOLDER
    subject=$(openssl x509 -in "$1/fullchain.pem" -noout -subject | cut -d= -f2-)
    issuer=$(openssl x509 -in "$1/fullchain.pem" -noout -issuer | cut -d= -f2-)
    [ "$subject" = "$issuer" ] || echo "max-age=63072000"
}

# --- to nginx -------------------------------------------------------------------------------------

# Copy a pair to the place where nginx reads it, and point the configuration there. Return 1, with
# the configuration unchanged, if nginx rejects it.
use() { # use FOLDER
    target=$RUN/tls-$(fingerprint "$1")
    mkdir -p "$target"
    cp "$1/fullchain.pem" "$1/privkey.pem" "$target/"
    chmod 600 "$target/privkey.pem"
    [ ! -e "$CONF" ] || cp "$CONF" "$CONF.old"
    cat >"$CONF.new" <<EOF
ssl_certificate $target/fullchain.pem;
ssl_certificate_key $target/privkey.pem;
map "" \$hsts { default "$(hsts "$target")"; }
EOF
    mv "$CONF.new" "$CONF"
    if verdict=$(nginx -t -q 2>&1); then
        say "serving $1: $(describe "$target")"
        find "$RUN" -maxdepth 1 -name 'tls-*' ! -path "$target" -exec rm -rf {} +
        return 0
    fi
    say "nginx rejects the configuration with $1: $verdict"
    [ ! -e "$CONF.old" ] || mv "$CONF.old" "$CONF"
    rm -rf "$target"
    return 1
}

usable() { # usable FOLDER: true, or false and the reason in the log
    reason=$(problem "$1")
    [ -z "$reason" ] || { say "ERROR: $1 is not used: $reason"; return 1; }
}

install() {
    self_signed
    if [ -d "$MOUNTED" ] && ! [ -x "$MOUNTED" ]; then
        say "ERROR: $MOUNTED is not used: user $(id -u) cannot read the folder: chmod it"
    fi
    folder=$(source_folder)
    if ! usable "$folder" || ! use "$folder"; then
        say "serving the self-signed certificate instead"
        use "$SELF_SIGNED"
    fi
}

# Reload once a new pair has been unchanged for one interval: its two files may be copied one by
# one.
watch() {
    served=$(fingerprint "$(source_folder)")
    last=$served
    while sleep "$INTERVAL_S"; do
        folder=$(source_folder)
        [ "$folder" != "$SELF_SIGNED" ] || self_signed
        now=$(fingerprint "$folder")
        if [ "$now" != "$served" ] && [ "$now" = "$last" ]; then
            served=$now
            if usable "$folder" && use "$folder"; then
                nginx -s reload
                say "nginx reloaded"
            else
                say "the previous certificate stays in use"
            fi
        fi
        last=$now
    done
}

case ${1:-} in
    install | watch) "$1" ;;
    *)
        echo "usage: certificates.sh install | watch" >&2
        exit 2
        ;;
esac
