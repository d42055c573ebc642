#!/bin/sh
# Install PgBouncer, which the tests of a connection pooler need, unless it is there. Never fails: without it, those
# tests are skipped and say so.
set -u
PATH="$PATH:/usr/sbin:/usr/local/sbin"
command -v pgbouncer > /dev/null && exit 0
as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo -n"
if command -v apt-get > /dev/null; then
    $as_root env DEBIAN_FRONTEND=noninteractive sh -c \
        'apt-get -qq update && apt-get -qq install --no-install-recommends pgbouncer' > /dev/null 2>&1
elif command -v brew > /dev/null; then
    brew install -q pgbouncer > /dev/null 2>&1
fi
command -v pgbouncer > /dev/null || echo "PgBouncer could not be installed; the tests that need it are skipped." >&2
exit 0
