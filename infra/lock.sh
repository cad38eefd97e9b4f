#!/usr/bin/env bash
# Resolves pyproject.toml into infra/cpu.lock and infra/gpu.lock, with hashes and without any
# address. Pins that still fit are kept; --upgrade (make lock ARGS=--upgrade) looks for newer ones.
set -euo pipefail
cd "$(dirname "$0")/.."
. infra/torch-source.sh

compile() {
    .venv/bin/uv pip compile pyproject.toml --quiet --generate-hashes --no-header \
        --python-version 3.11 --python-platform x86_64-manylinux_2_28 --extra dev --extra s3 "$@"
}

# torchvision, torchaudio and torchcodec exist as CUDA builds only and break transformers beside
# CPU torch; triton is a gigabyte that a CPU never uses.
compile --extra cpu --excludes infra/cpu-excludes.txt "${TORCH_SOURCE[@]}" \
    -o infra/cpu.lock "$@"
# Without the CPU wheel's folder: with it, uv would prefer torch +cpu here too.
compile --extra gpu -o infra/gpu.lock "$@"
