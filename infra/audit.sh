#!/usr/bin/env bash
# Looks up every locked package among PyPI's known vulnerabilities; needs the network, changes
# nothing. --strict: a package that could not be looked up is a failure, not a pass.
set -euo pipefail
cd "$(dirname "$0")/.."
PIP_AUDIT=pip-audit==2.10.1 # in a throw-away environment of uv's, not in .venv

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
status=0
for extra in cpu gpu; do
    # PyPI knows torch by its public version only.
    sed 's/^\(torch==[0-9.]*\)+cpu/\1/' "infra/$extra.lock" >"$folder/$extra.txt"
    echo "perpo audit: infra/$extra.lock" >&2
    .venv/bin/uv tool run --isolated "$PIP_AUDIT" --strict --disable-pip --require-hashes \
        --progress-spinner off -r "$folder/$extra.txt" "$@" || status=1
done
exit "$status"
