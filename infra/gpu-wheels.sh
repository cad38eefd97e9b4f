#!/usr/bin/env bash
# Fills build/gpu-wheels with what `make gpu-check` needs on a bare machine without network: wheels
# for CPython 3.12 on Linux x86-64, at the versions of infra/gpu.lock, hashes checked.
#
#   infra/gpu-wheels.sh [PACKAGE ...]     further locked packages, such as bitsandbytes (43 MB)
set -euo pipefail
cd "$(dirname "$0")/.."
FOLDER=build/gpu-wheels
PLATFORMS=(manylinux_2_28_x86_64 manylinux_2_27_x86_64 manylinux_2_24_x86_64
    manylinux_2_17_x86_64 manylinux2014_x86_64)

fail() {
    echo "perpo gpu-wheels: $*" >&2
    exit 1
}

# The lines of infra/gpu.lock that pin these packages, with their hashes.
pick_locked() {
    awk -v names="$*" '
        BEGIN { count = split(names, list, " "); for (i = 1; i <= count; i++) wanted[list[i]] = 1 }
        /^[A-Za-z0-9]/ { split($1, pin, "=="); kept = pin[1] in wanted }
        kept && !/^ *#/' infra/gpu.lock
}

for option in "$@"; do
    [[ $option != -* ]] || fail "there are no options; arguments are further packages of" \
        "infra/gpu.lock, such as bitsandbytes (make gpu-wheels ARGS=bitsandbytes)."
done
mapfile -t names < <(grep -v '^#' infra/gpu-wheels.txt)
names+=("$@")
requirements=$(mktemp)
trap 'rm -f "$requirements"' EXIT
pick_locked "${names[@]}" >"$requirements"
for name in "${names[@]}"; do
    grep -q "^$name==" "$requirements" || fail "$name is not in infra/gpu.lock."
done
rm -rf "$FOLDER" # two versions of one package would stop the installation
.venv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
    --only-binary :all: --python-version 3.12 --implementation cp \
    "${PLATFORMS[@]/#/--platform=}" --dest "$FOLDER" -r "$requirements" ||
    fail "the wheels could not be had: pip's message above says why."
echo "perpo gpu-wheels: $(find "$FOLDER" -name '*.whl' | wc -l) wheels," \
    "$(du -sh "$FOLDER" | cut -f1), in $FOLDER" >&2
