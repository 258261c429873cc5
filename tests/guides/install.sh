#!/bin/sh
# Installs the programs that the guides have their reader type, from the distribution: tests/guides types
# them, too.
set -eu

missing=
for one in bash curl openssl sqlite3; do
  command -v "$one" >/dev/null || missing="$missing $one"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "make: install these first:$missing" >&2
  exit 1
elif [ "$(id -u)" = 0 ]; then as_root=
elif command -v sudo >/dev/null; then as_root=sudo
else
  echo "make: these are missing, and it takes root to install them: apt-get install$missing" >&2
  exit 1
fi

echo "make: installing$missing" >&2
install="env DEBIAN_FRONTEND=noninteractive apt-get"
# shellcheck disable=SC2086
$as_root $install update -q && $as_root $install install -qy --no-install-recommends $missing
