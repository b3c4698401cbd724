#!/bin/sh
# Write the configuration that depends on settings and certificates, then run nginx.
set -eu

fail() {
    echo "keraport-nginx: $*" >&2
    exit 1
}

number() { # number NAME VALUE
    case $2 in
        '' | *[!0-9.]* | *.*.* | .) fail "$1 must be a number, it is '$2'" ;;
    esac
}

max_body_mb=${KERAPORT_MAX_BODY_MB:-16}
timeout_s=${KERAPORT_REQUEST_TIMEOUT_S:-30}
rate=${KERAPORT_RATE_LIMIT:-200}
connections=${KERAPORT_CONNECTION_LIMIT:-100}
https_port=${KERAPORT_HTTPS_PORT:-443}
cors_origins=${KERAPORT_CORS_ORIGINS:-}
unlimited=${KERAPORT_UNLIMITED_NETWORKS:-}
login_proxy=${KERAPORT_LOGIN_PROXY:-}
upstream=${KERAPORT_UPSTREAM:-}
number KERAPORT_MAX_BODY_MB "$max_body_mb"
number KERAPORT_REQUEST_TIMEOUT_S "$timeout_s"
for setting in "KERAPORT_RATE_LIMIT $rate" "KERAPORT_CONNECTION_LIMIT $connections" \
    "KERAPORT_HTTPS_PORT $https_port"; do
    case ${setting#* } in
        '' | 0* | *[!0-9]*) fail "${setting% *} must be a whole number above 0, it is '${setting#* }'" ;;
    esac
done

# Split at commas and blanks, as the application does; its error messages are more detailed.
origins=$(echo "$cors_origins" | tr -s ', ' '\n' | sed '/^$/d')
if echo "$origins" | grep -Evq '^(https?://[][a-z0-9.:-]+)?$'; then
    fail "KERAPORT_CORS_ORIGINS must be origins such as https://app.example.org, it is '$cors_origins'"
fi

# One line of a map for each.
# shellcheck disable=SC2016 # a variable of nginx
origins=$(echo "$origins" | sed -n 's/..*/    "&" $http_origin;/p')

networks=$(echo "$unlimited" | tr -s ', ' '\n' | sed '/^$/d')
if echo "$networks" | grep -Evq '^([0-9a-fA-F.:]+(/[0-9]{1,3})?)?$'; then
    fail "KERAPORT_UNLIMITED_NETWORKS must be networks such as 10.0.0.0/8, it is '$unlimited'"
fi
# One line of the geo block for each. nginx itself checks that it is a network.
networks=$(echo "$networks" | sed -n 's/..*/    & 0;/p')

case $login_proxy in
    '') ;;
    *) echo "$login_proxy" | grep -Eq '^http://[A-Za-z0-9.-]+(:[0-9]{1,5})?$' ||
        fail "KERAPORT_LOGIN_PROXY must be an address such as http://172.16.239.30:4180, it is '$login_proxy'" ;;
esac

case $upstream in
    '') ;;
    *) echo "$upstream" | grep -Eq '^[A-Za-z0-9._-]+:[0-9]{1,5}$' ||
        fail "KERAPORT_UPSTREAM must be a name and a port such as tasks.app:5000, it is '$upstream'" ;;
esac

seconds() { # seconds MORE: the request timeout plus MORE, in whole seconds
    awk -v s="$timeout_s" -v more="$1" 'BEGIN { printf "%d", s + more + 0.999 }'
}

mkdir -p /tmp/keraport
cat >/tmp/keraport/settings.conf <<EOF
# 1 MB above the limit of the application, which answers in more detail.
client_max_body_size $(awk -v mb="$max_body_mb" 'BEGIN { printf "%d", (mb + 1) * 1000000 }');
map "" \$max_body_mb { default "$max_body_mb"; }

# The read timeout is longer than the application's own, and than the time allowed for a second try.
proxy_next_upstream_timeout $(seconds 0)s;
proxy_read_timeout $(seconds 15)s;
grpc_next_upstream_timeout $(seconds 0)s;
grpc_read_timeout $(seconds 15)s;
grpc_send_timeout $(seconds 15)s;

# Tries of half a second each (see hold.conf).
map \$http_x_tries \$hold_over { default 0; "~^x{$(seconds "$timeout_s")}" 1; }

# The address that a request counts against: that of its client, unless its key is known or its
# network is exempt.
geo \$limited_network {
    default 1;
$networks
}
map "\$limited_network \$known_key" \$limited_address {
    volatile;
    default "";
    "1 " \$binary_remote_addr;
}
limit_req_zone \$limited_address zone=requests:10m rate=${rate}r/s;
limit_conn_zone \$limited_address zone=connections:10m;
limit_req_zone \$http_x_address zone=unknown_keys:10m rate=${rate}r/s;
# For the message of a 429.
map "\$limit_conn_status \$request_uri" \$limit_met {
    volatile;
    default "an address may send $rate requests per second (KERAPORT_RATE_LIMIT)";
    "~^REJECTED " "an address may have $connections requests at once (KERAPORT_CONNECTION_LIMIT)";
    "~^\S* /login\b" "an address may sign in 30 times per minute";
}

# The origin of the page, if it may read the answer.
map \$request_uri \$cors_asked {
    default "";
    "~^/(api|predict|v1|v2)([/?]|\$)" \$http_origin;
}
map \$cors_asked \$cors_origin {
    default "";
$origins
}
map \$cors_origin \$cors_expose { default "X-Request-ID, Retry-After"; "" ""; }
map \$cors_origin \$cors_vary { default Origin; "" ""; }

# As the login proxy names the user, by the first of these that it sends.
map \$login_email \$login_name {
    volatile;
    default \$login_email;
    "" \$login_user;
}

map "" \$https_port { default "$([ "$https_port" = 443 ] || echo ":$https_port")"; }
EOF

# Longer than a request is held.
cat >/tmp/keraport/hold_timeout.conf <<EOF
proxy_read_timeout $(seconds 15)s;
proxy_cache_lock_timeout $(seconds 15)s;
proxy_cache_lock_age $(seconds 15)s;
EOF

cat >/tmp/keraport/limits.conf <<EOF
limit_req zone=requests burst=$((rate * 2)) nodelay;
limit_conn connections $connections;
EOF
cat >/tmp/keraport/key_limit.conf <<EOF
limit_req zone=unknown_keys burst=$((rate * 2)) nodelay;
EOF

cp /etc/nginx/keraport/replicas_fixed.conf /tmp/keraport/replicas.conf
if [ -n "$upstream" ]; then
    # nginx wants IPv6 addresses in brackets.
    resolvers=$(sed -n 's/^nameserver[[:space:]]*//p' /etc/resolv.conf |
        sed -E 's/[[:space:]%].*//; s/.*:.*/[&]/' | tr '\n' ' ')
    [ -n "$resolvers" ] || fail "KERAPORT_UPSTREAM needs a DNS server: /etc/resolv.conf names none"
    sed "s|GRPC_SERVERS|${upstream%:*}:8500|; s|UPSTREAM|$upstream|; s|RESOLVERS|$resolvers|" /etc/nginx/keraport/replicas_dns.conf \
        >/tmp/keraport/replicas.conf
fi

# Empty without a login proxy.
: >/tmp/keraport/login.conf
: >/tmp/keraport/login_server.conf
if [ -n "$login_proxy" ]; then
    cp /etc/nginx/keraport/login.conf /tmp/keraport/login.conf
    sed "s|LOGIN_PROXY|$login_proxy|" /etc/nginx/keraport/login_server.conf \
        >/tmp/keraport/login_server.conf
fi

certificates.sh install
certificates.sh watch &
exec "$@"
