#!/bin/sh
# Installs the servers that tests start instances of (Redis, PostgreSQL, Prometheus) and what reads
# compose.yaml, from the distribution.
# Only the programs are wanted; nothing is started here, and nothing of an installed server is used.
set -eu

fail() {
  echo "make: $1" >&2
  echo "make: SERVERS=off leaves the tests with real servers out" >&2
  exit 1
}

has_postgres() {
  command -v initdb >/dev/null && return
  for one in /usr/lib/postgresql/*/bin/initdb; do [ -x "$one" ] && return; done
  return 1
}

missing=
command -v redis-server >/dev/null || missing="$missing redis-server"
command -v redis-sentinel >/dev/null || missing="$missing redis-sentinel"
has_postgres || missing="$missing postgresql"
# With promtool, which checks rules and what a scrape answers.
{ command -v prometheus && command -v promtool; } >/dev/null || missing="$missing prometheus"
command -v docker-compose >/dev/null || missing="$missing docker-compose"
# Starts a server as another user, and ends it with the test.
command -v setpriv >/dev/null || missing="$missing util-linux"
[ -n "$missing" ] || exit 0

command -v apt-get >/dev/null || fail "install these first:$missing"
if [ "$(id -u)" = 0 ]; then as_root=
elif command -v sudo >/dev/null; then as_root=sudo
else fail "these are missing, and it takes root to install them: apt-get install$missing"; fi

echo "make: installing$missing" >&2
# In run level 1 the packages start no service of their own.
install="env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get"
# shellcheck disable=SC2086
{ $as_root $install update -q && $as_root $install install -qy --no-install-recommends $missing; } ||
  fail "cannot be installed:$missing"
