"""Imports only go down: kernels, then training, then estimators, and the rest on top."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import fastmlp

OPTIONAL = {
    "matplotlib", "rich", "click", "typer", "pandas", "polars", "safetensors", "starlette",
    "uvicorn", "websockets",
}  # fmt: skip
PACKAGE = Path(fastmlp.__file__).parent
FLOORS = [
    "fastmlp._elsewhere",
    "fastmlp._disk_cache",
    "fastmlp._lowering",
    "fastmlp._jit",
    "fastmlp._linking",
    "fastmlp.kernels",
    "fastmlp.training",
    "fastmlp.estimators",
    "fastmlp",
]

# What a floor may import from outside fastmlp and the standard library; the floors above: anything.
OUTSIDE = {
    "fastmlp._elsewhere": set(),
    "fastmlp._disk_cache": {"numpy", "numba", "llvmlite"},
    "fastmlp._lowering": {"numba"},
    "fastmlp._jit": {"numpy", "numba"},
    "fastmlp._linking": {"numpy", "numba", "llvmlite"},
    "fastmlp.kernels": {"numpy", "numba", "llvmlite"},
    "fastmlp.training": {"numpy", "scipy", "numba", "joblib", "threadpoolctl"},
}


def module_name(path):
    """The dotted name of a file of the package."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def is_inside(module, package):
    """Whether a module is the package or something in it."""
    return module == package or module.startswith(f"{package}.")


def floor_of(module):
    """The index of the floor on which a module lives: 0 is the lowest."""
    return next(index for index, floor in enumerate(FLOORS) if is_inside(module, floor))


def imported_modules(name):
    """The modules that a module imports, anywhere in its source."""
    source = SOURCES[name]
    package = name if source.name == "__init__.py" else name.rpartition(".")[0]
    imported = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) + 1 - node.level]
            origin = ".".join([*parts, node.module or ""] if node.level else [node.module])
            origin = origin.rstrip(".")
            # `from package import module` is an import of the module, not of all the package.
            for alias in node.names:
                inner = f"{origin}.{alias.name}"
                imported.add(inner if inner in SOURCES else origin)
    return imported


@pytest.mark.parametrize("name", SOURCES)
def test_imports_go_down(name):
    for imported in imported_modules(name):
        if is_inside(imported, "fastmlp"):
            assert floor_of(imported) <= floor_of(name), f"{name} imports {imported}"


@pytest.mark.parametrize("name", SOURCES)
def test_lower_floors_import_little_from_outside(name):
    allowed = OUTSIDE.get(FLOORS[floor_of(name)])
    if allowed is None:
        return
    outside = {imported.partition(".")[0] for imported in imported_modules(name)}
    assert outside <= {"fastmlp", *allowed, *sys.stdlib_module_names}


def test_no_circles():
    graph = {
        name: {imported for imported in imported_modules(name) if imported in SOURCES}
        for name in SOURCES
    }
    graphlib.TopologicalSorter(graph).prepare()


def test_all_floors_were_found():
    assert {floor_of(name) for name in SOURCES} == set(range(len(FLOORS)))
    assert "numba" in imported_modules("fastmlp._jit")
    assert "fastmlp._jit" in imported_modules("fastmlp.kernels.blas")


def packages_after(statements):
    """The top-level packages that a fresh interpreter has imported after some statements."""
    script = f"import sys\n{statements}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    return set(result.stdout.split())


def test_importing_fastmlp_is_light():
    assert not packages_after("import fastmlp") & {*OPTIONAL, "numba", "scipy", "sklearn"}


def test_optional_packages_are_imported_only_when_used():
    # scikit-learn itself imports some of them, where they are installed.
    ours = packages_after(
        "import fastmlp\n"
        "fastmlp.MLPClassifier(tol=10).fit([[0.0], [1.0], [2.0]], [0, 1, 1]).predict([[0.5]])"
    )
    assert "numba" in ours
    assert ours & OPTIONAL <= packages_after("import sklearn.neural_network")
