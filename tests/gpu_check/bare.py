"""A machine that has only what `make gpu-check` asks for, played by an environment of links.

It has the packages of this environment that such a machine has, and those of infra/gpu-wheels.txt,
and nothing else: no Prefect, no vLLM, perpo itself not installed.
"""

from __future__ import annotations

import sys
import venv
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
MACHINE = (
    "torch", "transformers", "accelerate", "numpy", "pyarrow", "scikit-learn", "pillow", "jinja2",
    "matplotlib", "rich", "pytest",
)  # fmt: skip


def read_wheels() -> list[str]:
    """The names in infra/gpu-wheels.txt."""
    lines = (ROOT / "infra" / "gpu-wheels.txt").read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


def find_closure(names: Iterable[str]) -> set[str]:
    """The packages and all that they need, of those that are installed here."""
    found: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop().lower()
        if name not in found and (package := _find(name)) is not None:
            found.add(name)
            todo += list_needs(package)
    return found


def list_needs(package: Distribution) -> list[str]:
    """Names that a package requires on this platform, extras left out."""
    needs = [Requirement(line) for line in package.requires or []]
    return [
        need.name.lower()
        for need in needs
        if need.marker is None or need.marker.evaluate({"extra": ""})
    ]


def _find(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:  # left out of this environment, as torch's CUDA packages are
        return None


def build_python(folder: Path, names: Iterable[str]) -> Path:
    """A Python that has these packages, as links into this environment's, and no others."""
    venv.create(folder, symlinks=True, with_pip=False)
    version = f"python3.{sys.version_info.minor}"
    _link_packages(folder / "lib" / version / "site-packages", names)
    return folder / "bin" / version


def _link_packages(folder: Path, names: Iterable[str]) -> None:
    """Whatever these packages have at the top of site-packages."""
    for name in names:
        package = distribution(name)
        for top in {file.parts[0] for file in package.files or []} - {"..", "__pycache__"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(Path(str(package.locate_file(top))))


def list_bare() -> set[str]:
    """Packages of such a machine once the wheels are installed."""
    return find_closure(MACHINE) | set(read_wheels())
