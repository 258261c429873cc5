#!/bin/sh
# Makes the Python environments of the tests: one for the original's worker, one for its orchestrator,
# because the two want different versions of the same packages, and one for Schemathesis. Each lies in
# .venv/NAME; the copy of its requirements in there says that it is complete, and of which set.
set -eu
cd "$(dirname "$0")/../.."

fail() {
  echo "make: $1" >&2
  echo "make: INTEROP=off leaves the tests with programs from PyPI out" >&2
  exit 1
}

is_python() { python3 -c 'import ensurepip, venv' >/dev/null 2>&1; }

# Installs Python from the distribution when it is missing.
need_python() {
  if ! is_python; then
    command -v apt-get >/dev/null || fail 'python3 with venv and pip is missing: install it'
    if [ "$(id -u)" = 0 ]; then apt=apt-get
    elif command -v sudo >/dev/null; then apt='sudo apt-get'
    else fail 'python3 is missing, and it takes root to install it: apt-get install python3-venv'; fi
    { $apt update -q && $apt install -qy python3-venv; } || fail 'python3-venv cannot be installed'
    is_python || fail 'python3 has no venv and pip after the installation of python3-venv'
  fi
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "the programs from PyPI need Python 3.11 or newer, this is $(python3 --version)"
}

# make_environment NAME
make_environment() {
  requirements=tests/interop/requirements-$1.txt
  folder=.venv/$1
  if cmp -s "$requirements" "$folder/requirements.txt" && "$folder/bin/python" -c '' 2>/dev/null; then
    return
  fi
  need_python
  echo "make: installing $requirements into $folder" >&2
  rm -rf "$folder"
  python3 -m venv "$folder" || fail "$folder cannot be created"
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --pre \
    --requirement "$requirements" ||
    fail "the packages of $requirements cannot be installed; they come from PyPI"
  cp "$requirements" "$folder/requirements.txt"
}

make_environment worker
make_environment orchestrator
make_environment schemathesis
