"""Where the code of one's own reward lies, and its digest: nothing of it is run here.

A module of one file counts with the files of its folder that it imports, and with what those import
there. A module in a package counts with every .py file of its outermost package. Installed
libraries that it imports, and files that it opens, do not count.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path


class OwnSource:
    """The source of "MODULE:FUNCTION", looked for in a folder and then among installed modules.

    Raises ValueError where there is no such module, or it is not Python source.
    """

    def __init__(self, name: str, folder: Path | None) -> None:
        self.module, _, self.function = name.partition(":")
        self.folder = folder
        self.file = self._find()

    def _find(self) -> Path:
        path = [*([str(self.folder)] if self.folder else []), *sys.path]
        names = self.module.split(".")
        for depth in range(1, len(names) + 1):
            PathFinder.invalidate_caches()
            spec = PathFinder.find_spec(".".join(names[:depth]), path)
            origin = spec and spec.origin
            if depth == len(names) and origin and origin.endswith(".py"):
                return Path(origin).absolute()
            path = list(spec.submodule_search_locations or ()) if spec else []
        raise ValueError(
            f"there is no module {self.module}, neither {names[0]}.py in "
            f"{self.folder or 'a folder (there is no configuration file)'} nor an installed one; "
            "correct the name, or put the file there"
        )

    def list_files(self) -> list[Path]:
        """All that count, the module's own first."""
        depth = self.module.count(".")
        if depth == 0 and self.file.name != "__init__.py":
            return list(dict.fromkeys(_follow_imports(self.file, {self.file})))
        is_package = self.file.name == "__init__.py"
        top = self.file.parents[depth if is_package else depth - 1]
        return [self.file, *sorted(set(top.rglob("*.py")) - {self.file})]

    def compute_digest(self) -> str:
        """sha256 over the function's name and the content of the files, wherever they lie."""
        digest = hashlib.sha256(self.function.encode())
        for each in sorted(hashlib.sha256(_read(file)).hexdigest() for file in self.list_files()):
            digest.update(each.encode())
        return digest.hexdigest()

    def check_function(self) -> None:
        """Raise ValueError where the module plainly has no such function."""
        names = set(_list_names(_parse(self.file)))
        if self.function not in names and "*" not in names:
            found = ", ".join(sorted(name for name in names if not name.startswith("_")))
            raise ValueError(
                f"{self.file} has no function {self.function}; it has {found or 'none'}"
            )


def _follow_imports(file: Path, seen: set[Path]) -> Iterator[Path]:
    yield file
    for name in _list_imports(_parse(file)):
        for found in _find_beside(file.parent, name):
            if found not in seen:
                seen.add(found)
                yield from _follow_imports(found, seen)


def _find_beside(folder: Path, name: str) -> Iterator[Path]:
    plain = folder / f"{name}.py"
    if plain.is_file():
        yield plain
    elif (folder / name).is_dir():
        yield from sorted((folder / name).rglob("*.py"))


def _list_imports(tree: ast.Module) -> Iterator[str]:
    """First names of everything that is imported, anywhere in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def _list_names(tree: ast.Module) -> Iterator[str]:
    """Names that a module gives to anything, in whatever block; "*" for what another one brings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)


def _parse(file: Path) -> ast.Module:
    try:
        return ast.parse(_read(file))
    except SyntaxError as error:
        raise ValueError(f"{file}, line {error.lineno}: {error.msg}; correct that line") from error


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ValueError(f"{file} cannot be read: {why}; check the path") from error
