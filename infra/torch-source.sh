# Sourced by setup.sh and lock.sh: where uv finds CPU torch. Plain indexes serve the CUDA build for
# Linux, gigabytes of it, so the CPU build is asked for by its local version and from one of two
# places: a folder named in pip's own PIP_FIND_LINKS, which uv does not read by itself, or
# PyTorch's index, which uv knows. Sets the array TORCH_SOURCE.

TORCH_SOURCE=(--torch-backend cpu)
for place in ${PIP_FIND_LINKS:-}; do
    if compgen -G "$place/torch-*+cpu-*.whl" >/dev/null; then
        TORCH_SOURCE=(--find-links "$place")
        break
    fi
done
