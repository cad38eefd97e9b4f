#!/usr/bin/env bash
# Makes .venv exactly as infra/<extra>.lock says, hashes checked, nothing built from source.
#
#   infra/setup.sh cpu|gpu        PYTHON=... names the Python 3.11 to use
#   infra/setup.sh --is-usable    is there an environment here that runs?
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=$PWD/.venv

fail() {
    echo "perpo setup: $*" >&2
    exit 1
}

# A moved environment still has a Python, but its scripts name the old place in their first lines.
is_usable() {
    "$VENV/bin/python" -c '' 2>/dev/null &&
        head -n 2 "$VENV/bin/pip" 2>/dev/null | grep -qF "$VENV/bin/python"
}

find_python() {
    local name names=(python3.11 python3)
    [[ -z ${PYTHON:-} ]] || names=("$PYTHON")
    for name in "${names[@]}"; do
        if [[ $("$name" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) == 3.11 ]]
        then
            command -v "$name"
            return
        fi
    done
    fail "Python 3.11 is needed (the lock holds the wheels of that version) but $name is" \
        "$("$name" --version 2>/dev/null || echo "not there"): install it, or name it with" \
        "make setup PYTHON=/path/to/python3.11."
}

check_machine() {
    [[ $(uname -sm) == "Linux x86_64" ]] ||
        fail "the lock is for Linux x86-64 and this is $(uname -sm)."
    "$1" -c 'import sys, platform
libc, version = platform.libc_ver()
sys.exit(libc != "glibc" or tuple(map(int, version.split(".")[:2])) < (2, 28))' ||
        fail "glibc 2.28 or newer is needed (Debian 10, Ubuntu 20.04, RHEL 8 or later)."
    "$1" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$1 cannot make virtual environments: install python3-venv (Debian, Ubuntu:" \
            "apt install python3-venv) and run make setup again."
}

make_venv() {
    local python
    python=$(find_python)
    check_machine "$python"
    # --clear follows a link and empties what it points at, which is somebody else's.
    [[ ! -L $VENV ]] || fail "$VENV is a symbolic link to $(readlink "$VENV"): remove it first."
    "$python" -m venv --clear "$VENV" || fail "$python could not make $VENV."
}

install_locked() {
    local extra=$1 source=()
    if [[ $extra == cpu ]]; then
        . infra/torch-source.sh
        source=("${TORCH_SOURCE[@]}")
    fi
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
        --require-hashes --only-binary :all: -r infra/uv.lock.txt ||
        fail "uv could not be installed: pip's message above says why."
    # sync, not install: it takes the lock as it is and removes what is not in it. Bytecode is
    # compiled now because every import of vLLM is seconds slower where Python may not write it.
    "$VENV/bin/uv" pip sync --quiet --python "$VENV/bin/python" --require-hashes \
        --only-binary :all: --compile-bytecode ${source[@]+"${source[@]}"} "infra/$extra.lock" ||
        fail "the locked packages could not be installed: uv's message above says why. CPU" \
            "torch comes from a folder named in PIP_FIND_LINKS that holds its wheel, or from" \
            "PyTorch's own index; nothing else is accepted in its place."
    "$VENV/bin/uv" pip install --quiet --python "$VENV/bin/python" --no-deps \
        --no-build-isolation --editable . || fail "perpo itself could not be installed."
}

# pip-check.<extra>.txt lists the complaints that are known and harmless: packages left out on
# purpose (infra/cpu-excludes.txt). Any other one means an environment that only seems to work.
check_complaints() {
    local new
    new=$({ "$VENV/bin/python" -m pip check || true; } | grep -v '^No broken requirements' |
        LC_ALL=C sort | LC_ALL=C comm -13 "infra/pip-check.$1.txt" - || true)
    [[ -z $new ]] || fail "pip check has new complaints:"$'\n'"$new"
}

main() {
    case ${1:-} in
        --is-usable) is_usable ;;
        cpu | gpu)
            rm -f "$VENV"/ready-*
            is_usable || make_venv
            echo "perpo setup: installing infra/$1.lock into .venv" >&2
            install_locked "$1"
            check_complaints "$1"
            echo "$1" >"$VENV/perpo-extra"
            echo "perpo setup: ready in $SECONDS s" >&2
            ;;
        *) fail "EXTRA is cpu or gpu, not '${1:-}'." ;;
    esac
}

main "$@"
