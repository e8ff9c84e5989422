"""What identifies code: its syntax, without docstrings, comments and layout.

The digest of some modules covers them and, transitively, every module of the package whose names they use. A name
that a package's `__init__` passes on counts for the module that defines it: `fpa.Solver` is `fpa.solver`. The digest
is therefore the same after an edit of prose, of formatting, or of a module that they do not reach, and on every
Python version that parses the code to the same tree.
"""

import ast
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from fpa.study.errors import StudyError
from fpa.study.files import sha256

PACKAGE = Path(__file__).resolve().parents[1]

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def digest(modules: Iterable[str], package: Path = PACKAGE) -> str:
    """The sha256 of the code of `modules` (dotted names inside `package`) and of all they import from it."""
    files = closure(modules, package)
    return sha256("\n".join(f"{name}: {_text(files[name], _stamp(files[name]))}" for name in sorted(files)))


def closure(modules: Iterable[str], package: Path = PACKAGE) -> dict[str, Path]:
    """`modules` and every module of `package` that they import, directly or not, with their files."""
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = _file(name, package)
            waiting += _resolved(_names_in(found[name]), package, name)
    return found


def imported(tree: ast.AST, package: Path = PACKAGE, module: str = "") -> Iterator[str]:
    """The modules of `package` that define what `tree`, the code of `module`, imports or uses as an attribute."""
    yield from _resolved(_names(tree), package, module)


@dataclass(frozen=True)
class _Names:
    """What code imports and uses of it: all that a closure needs to know of a file.

    `whole` are modules imported as such, by the names they are bound to; `parts` are the `from ... import`s, as the
    node and its pairs of name and bound name; `attributes` are uses `a.b` of any name, `bare` the other uses.
    """

    whole: Mapping[str, str]
    parts: Sequence[tuple[ast.ImportFrom, Sequence[tuple[str, str]]]]
    attributes: Set[tuple[str, str]]
    bare: Set[str]


def _names(tree: ast.AST) -> _Names:
    whole, parts, attributes, bare, seen = {}, [], set(), set(), set()
    for node in ast.walk(tree):  # a node before the ones inside it
        if isinstance(node, ast.Import):
            whole |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts.append((node, [(alias.name, alias.asname or alias.name) for alias in node.names]))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            seen.add(node.value)
            attributes.add((node.value.id, node.attr))
        elif isinstance(node, ast.Name) and node not in seen:
            bare.add(node.id)
    return _Names(whole, parts, attributes, bare)


def _resolved(names: _Names, package: Path, module: str) -> Iterator[str]:
    """The modules of `package` that define what is imported or used."""
    for node, pairs in names.parts:
        base = _absolute(node, package, module)
        if _exists(base, package):
            yield from (_origin(base, name, package) for name, _ in pairs)
    whole = {bound: name for bound, name in names.whole.items() if _exists(name, package)}
    yield from (_origin(whole[bound], name, package) for bound, name in names.attributes if bound in whole)
    yield from (name for bound, name in whole.items() if bound in names.bare or "." in bound)


def _origin(base: str, name: str, package: Path) -> str:
    """The module that defines `name` of the module `base`."""
    if _exists(f"{base}.{name}", package):
        return f"{base}.{name}"
    file = _file(base, package)
    if file.name == "__init__.py":
        for node, pairs in _names_in(file).parts:
            for original, bound in pairs:
                if bound == name and _exists(source := _absolute(node, package, base), package):
                    return _origin(source, original, package)
    return base


def canonical(node: object) -> str:
    """A syntax tree as text, without positions, docstrings and the empty fields that differ between Pythons."""
    if isinstance(node, list):
        return f"[{','.join(map(canonical, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
        fields["body"] = node.body[1:]
    kept = (f"{name}={canonical(value)}" for name, value in fields.items() if value is not None and value != [])
    return f"{type(node).__name__}({','.join(kept)})"


def _stamp(file: Path) -> tuple[int, int]:
    """What changes when a file does: a notebook asks for several digests, and no file is parsed twice."""
    status = file.stat()
    return status.st_mtime_ns, status.st_size


def _names_in(file: Path) -> _Names:
    return _names_of(file, _stamp(file))


@functools.cache
def _names_of(file: Path, stamp: tuple[int, int]) -> _Names:
    return _names(_tree(file, stamp))


@functools.cache
def _tree(file: Path, stamp: tuple[int, int]) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


@functools.cache
def _text(file: Path, stamp: tuple[int, int]) -> str:
    return canonical(_tree(file, stamp))


def _candidates(name: str, package: Path) -> tuple[Path, Path]:
    stem = package.parent.joinpath(*name.split("."))
    return stem / "__init__.py", stem.with_name(f"{stem.name}.py")


def _exists(name: str, package: Path) -> bool:
    return name.split(".")[0] == package.name and any(file.is_file() for file in _candidates(name, package))


def _file(name: str, package: Path) -> Path:
    if not _exists(name, package):
        raise StudyError(f"There is no module {name!r} in the package {package.name}.")
    return next(file for file in _candidates(name, package) if file.is_file())


def _absolute(node: ast.ImportFrom, package: Path, module: str) -> str:
    """The absolute name of the module a `from ... import` imports from, which may be written relatively."""
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    is_package = _file(module, package).name == "__init__.py"
    parents = parts[: len(parts) + is_package - node.level]
    return ".".join([*parents, node.module] if node.module else parents)
