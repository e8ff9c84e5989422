"""The house rules, read from the syntax trees; each checker is also shown a planted violation."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[1] / "fpa"

BASE = {"cones", "matrices", "programs"}
COMPOSITE = {"functions", "composite"}
MAPS = BASE | COMPOSITE | {"canonicalize", "equilibration", "maps"}
LEARNED = MAPS | {"accelerators", "layouts"}
SOLVER = LEARNED | {"solver"}
MAY_IMPORT = {
    "cones": set(),
    "matrices": {"cones"},
    "programs": {"cones", "matrices"},
    "functions": BASE,
    "composite": BASE | {"functions"},
    "canonicalize": BASE,
    "equilibration": BASE,
    "maps": MAPS,
    "layouts": {"canonicalize"},
    "accelerators": LEARNED,
    "solver": LEARNED,
    "distributions": BASE | COMPOSITE | {"canonicalize"},
    "evaluation": SOLVER | {"distributions"},
    "tuning": SOLVER | {"distributions", "evaluation"},
    "training": SOLVER | {"distributions", "evaluation"},
    "persistence": SOLVER | {"distributions"},
}
MAY_IMPORT["__init__"] = set(MAY_IMPORT)
MAY_IMPORT["study"] = {*MAY_IMPORT, "fpa"}


class Module(NamedTuple):
    name: str
    room: str
    tree: ast.Module
    lines: int


class Class(NamedTuple):
    module: str
    node: ast.ClassDef

    @property
    def is_abstract(self) -> bool:
        return self.node.name.lstrip("_").startswith("Abstract")

    @property
    def bases(self) -> list[str]:
        return [_last_name(base.value if isinstance(base, ast.Subscript) else base) for base in self.node.bases]

    @property
    def methods(self) -> dict[str, bool]:
        """Whether each method is abstract. Equinox calls `__check_init__` of every base, so none overrides another."""
        nodes = [node for node in self.node.body if isinstance(node, ast.FunctionDef) and node.name != "__check_init__"]
        return {node.name: any("abstractmethod" in _last_name(d) for d in node.decorator_list) for node in nodes}


def modules(package: Path) -> list[Module]:
    """Every module of a package; its room is the first part of its path."""
    found = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        name = ".".join(("fpa", *(part for part in parts if part != "__init__")))
        text = path.read_text(encoding="utf-8")
        found.append(Module(name, parts[0], ast.parse(text), len(text.splitlines())))
    return found


def classes(package: Path) -> dict[str, Class]:
    """The classes that a package defines, by name."""
    nodes = [(module.name, node) for module in modules(package) for node in ast.walk(module.tree)]
    return {node.name: Class(module, node) for module, node in nodes if isinstance(node, ast.ClassDef)}


def _last_name(node: ast.expr) -> str:
    return ast.unparse(node).split(".")[-1].split("(")[0]


def _imported(module: Module) -> Iterator[str]:
    """The rooms that a module imports; `fpa` stands for the public interface."""
    for node in ast.walk(module.tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = ["fpa" if node.level else f"{node.module}.{alias.name}" for alias in node.names]
        for first, *rest in (name.split(".") for name in names):
            if first == "fpa":
                yield rest[0] if rest and (rest[0] in MAY_IMPORT or rest[0].startswith("_")) else "fpa"


def upward_imports(package: Path) -> list[str]:
    """Imports are absolute and run downwards; a private module of the top level is free to all and imports none."""
    found = []
    for module in modules(package):
        private = module.room.startswith("_") and module.room != "__init__"
        if not private and module.room not in MAY_IMPORT:
            found.append(f"{module.name} has no room")
            continue
        for room in _imported(module):
            allowed = set() if private else MAY_IMPORT[module.room] | {module.room}
            if room not in allowed and (private or not room.startswith("_")):
                found.append(f"{module.name} imports {room}")
    return found


def long_files(package: Path) -> list[str]:
    """No file is above 300 lines."""
    return [f"{module.name} has {module.lines} lines" for module in modules(package) if module.lines > 300]


def abstract_or_final(package: Path) -> list[str]:
    """A concrete class is never subclassed, a concrete method never overridden."""
    known, found = classes(package), []

    def ancestors(name: str) -> Iterator[Class]:
        for base in known[name].bases:
            if base in known and base != name:
                yield known[base]
                yield from ancestors(base)

    for name, cls in known.items():
        if any(cls.methods.values()) and not cls.is_abstract:
            found.append(f"{cls.module}.{name} has abstract methods, but not an abstract name")
        for ancestor in ancestors(name):
            if not ancestor.is_abstract:
                found.append(f"{cls.module}.{name} subclasses the concrete {ancestor.node.name}")
            overridden = {method for method, abstract in ancestor.methods.items() if not abstract} & set(cls.methods)
            found += [f"{cls.module}.{name} overrides {ancestor.node.name}.{method}" for method in sorted(overridden)]
    return found


def missing_docstrings(package: Path) -> list[str]:
    """Every public module, class, function and abstract method says what it is."""
    found = []
    for module in modules(package):
        nodes: list = [module.tree, *module.tree.body]
        for cls in [node for node in module.tree.body if isinstance(node, ast.ClassDef)]:
            nodes += [node for node in cls.body if Class("", cls).methods.get(getattr(node, "name", ""))]
        for node in nodes:
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and not ast.get_docstring(node):
                name = getattr(node, "name", "")
                found += [] if name.startswith("_") else [f"{module.name} {name}".strip()]
    return found


def type_tests(package: Path) -> list[str]:
    """No `isinstance` (or class pattern) asks for a concrete class of the package."""
    concrete = {name for name, cls in classes(package).items() if not cls.is_abstract}
    found = []
    for module in modules(package):
        for node in ast.walk(module.tree):
            asked: list[ast.AST] = []
            if isinstance(node, ast.Call) and _last_name(node.func) in ("isinstance", "issubclass"):
                asked = list(ast.walk(node.args[1]))
            elif isinstance(node, ast.MatchClass):
                asked = [node.cls]
            names = {_last_name(part) for part in asked if isinstance(part, ast.Name | ast.Attribute)}
            found += [f"{module.name} tests for {name}" for name in sorted(names & concrete)]
    return found


def silent_handlers(package: Path) -> list[str]:
    """No exception is dropped: neither `except: pass` nor its spellings."""
    found = []
    for module in modules(package):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ExceptHandler):
                empty = all(isinstance(line, ast.Pass) or ast.unparse(line) == "..." for line in node.body)
                found += [f"{module.name}:{node.lineno}"] if empty or node.type is None else []
    return found


def global_flags(package: Path) -> list[str]:
    """Only the study sets global JAX flags."""
    found = []
    for module in modules(package):
        for node in ast.walk(module.tree) if module.room != "study" else ():
            called = isinstance(node, ast.Call) and ast.unparse(node.func).endswith("config.update")
            assigned = isinstance(node, ast.Assign) and ast.unparse(node).startswith(("jax.config.", "config.jax_"))
            found += [f"{module.name}:{node.lineno}"] if called or assigned else []
    return found


PLANTED: dict[Callable[[Path], list[str]], list[tuple[str, str, str]]] = {
    upward_imports: [
        ("cones.py", "from fpa.maps import SCS", "fpa.cones imports maps"),
        ("maps/scs.py", "def f():\n    import fpa.solver", "fpa.maps.scs imports solver"),
        ("solver.py", "from fpa import SCS", "fpa.solver imports fpa"),
        ("solver.py", "from fpa import study", "fpa.solver imports study"),
        ("solver.py", "from . import evaluation", "fpa.solver imports fpa"),
        ("accelerators.py", "from fpa.distributions import Lasso", "fpa.accelerators imports distributions"),
        ("__init__.py", "from fpa.study import begin", "fpa imports study"),
        ("_private.py", "from fpa.cones import Zero", "fpa._private imports cones"),
        ("attic.py", "", "fpa.attic has no room"),
    ],
    long_files: [("cones.py", "\n" * 301, "fpa.cones has 301 lines")],
    abstract_or_final: [
        ("cones.py", "class A:\n    pass\nclass B(A):\n    pass", "fpa.cones.B subclasses the concrete A"),
        (
            "cones.py",
            "class AbstractA:\n    def f(self): ...\nclass AbstractB(AbstractA): ...\n"
            "class C(AbstractB[int]):\n    def f(self): ...",
            "fpa.cones.C overrides AbstractA.f",
        ),
        (
            "cones.py",
            "class A:\n    @abc.abstractmethod\n    def f(self): ...",
            "fpa.cones.A has abstract methods, but not an abstract name",
        ),
    ],
    missing_docstrings: [
        ("cones.py", "class Zero: ...", "fpa.cones Zero"),
        ("cones.py", "def norm(): ...", "fpa.cones norm"),
        ("cones.py", "class AbstractA:\n    '''A.'''\n    @abstractmethod\n    def f(self): ...", "fpa.cones f"),
        ("cones.py", "x = 1", "fpa.cones"),
    ],
    type_tests: [
        ("cones.py", "class Zero: ...\nisinstance(x, int | Zero)", "fpa.cones tests for Zero"),
        ("cones.py", "class Zero: ...\nisinstance(x, (int, cones.Zero))", "fpa.cones tests for Zero"),
        ("cones.py", "class Zero: ...\nmatch x:\n    case Zero(): 1", "fpa.cones tests for Zero"),
    ],
    silent_handlers: [
        ("cones.py", "try:\n    f()\nexcept ValueError:\n    pass", "fpa.cones:3"),
        ("cones.py", "try:\n    f()\nexcept:\n    raise", "fpa.cones:3"),
    ],
    global_flags: [
        ("cones.py", "jax.config.update('jax_enable_x64', True)", "fpa.cones:1"),
        ("cones.py", "jax.config.jax_enable_x64 = True", "fpa.cones:1"),
    ],
}

GOOD = {
    "__init__.py": '"""Public."""\nfrom fpa.maps import SCS as SCS',
    "_private.py": '"""Private."""\nimport numpy',
    "cones.py": '''"""Cones."""
from fpa._private import f
class AbstractCone:
    """A cone."""
    @abstractmethod
    def project(self):
        """Project."""
    def twice(self): ...
    def __check_init__(self): ...
class Zero(AbstractCone):
    """Zero."""
    def project(self): ...
    def __check_init__(self): ...
isinstance(x, AbstractCone)
''',
    "maps/scs.py": '''"""The map."""
import fpa.cones
from fpa.maps import base
try:
    f()
except KeyError:
    g()
''',
    "study/begin.py": '"""Begin."""\nimport fpa\nfrom fpa import cones\njax.config.update("jax_enable_x64", True)',
}


def plant(package: Path, sources: dict[str, str]) -> Path:
    """Write a small package, so that the checkers can be tried on it."""
    for name in ("maps", "study"):
        (package / name).mkdir(parents=True)
    for name, text in sources.items():
        (package / name).write_text(text)
    return package


@pytest.mark.parametrize("checker", PLANTED, ids=lambda checker: checker.__name__)
def test_the_package_keeps_the_rule(checker):
    assert checker(PACKAGE) == []


@pytest.mark.parametrize("checker", PLANTED, ids=lambda checker: checker.__name__)
def test_a_small_good_package_passes(checker, tmp_path):
    assert checker(plant(tmp_path / "fpa", GOOD)) == []


@pytest.mark.parametrize(
    ("checker", "name", "text", "finding"),
    [(checker, *case) for checker, cases in PLANTED.items() for case in cases],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_planted_violation_is_found(checker, name, text, finding, tmp_path):
    assert finding in checker(plant(tmp_path / "fpa", {name: text}))


def test_the_package_is_found():
    assert {"cones", "maps", "solver", "study"} <= {module.room for module in modules(PACKAGE)}
    assert {"AbstractCone", "SCS", "Solver"} <= classes(PACKAGE).keys()
