#!/usr/bin/env bash
# Runs tests.gpu_check in the first Python here that can: PYTHON where it is set, else .venv, unless
# python3's torch sees a GPU that .venv's does not. Another Python than .venv's gets what it lacks
# from build/gpu-wheels (make gpu-wheels), installed into build/gpu-site, offline; nothing of the
# machine is changed.
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=.venv/bin/python
WHEELS=build/gpu-wheels
SITE=build/gpu-site

fail() {
    echo "perpo gpu-check: $*" >&2
    exit 2
}

has_cuda() {
    "$1" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null
}

needs_no_gpu() {
    [[ " $* " == *" --cpu "* || " $* " == *" --help "* || " $* " == *" -h "* ]]
}

choose_python() {
    if [[ -n ${PYTHON:-} ]]; then
        command -v "$PYTHON" || fail "PYTHON=$PYTHON is not there."
    elif [[ -x $VENV ]] &&
        { needs_no_gpu "$@" || has_cuda "$VENV" || ! has_cuda python3; }; then
        echo "$VENV"
    else
        command -v python3 || fail "there is no python3; name one with PYTHON=..."
    fi
}

# Names of the wheels whose package this Python has not got; one a line.
find_lacking() {
    "$1" - "$WHEELS" <<'PYTHON_CODE'
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

for wheel in sorted(Path(sys.argv[1]).glob("*.whl")):
    try:
        version(wheel.name.split("-")[0])
    except PackageNotFoundError:
        print(wheel)
PYTHON_CODE
}

install_lacking() {
    local lacking
    rm -rf "$SITE"
    mapfile -t lacking < <(find_lacking "$1")
    ((${#lacking[@]})) || return 0
    echo "perpo gpu-check: installing ${#lacking[@]} wheels into $SITE" >&2
    "$1" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile \
        --no-cache-dir --target "$SITE" "${lacking[@]}" ||
        fail "the wheels in $WHEELS could not be installed (they are for CPython 3.12 and this is" \
            "$("$1" --version)): pip's message above says why."
}

python=$(choose_python "$@")
if [[ $python != "$VENV" ]]; then
    install_lacking "$python"
    export PYTHONPATH=$PWD/$SITE${PYTHONPATH:+:$PYTHONPATH}
fi
exec "$python" -m tests.gpu_check "$@"
