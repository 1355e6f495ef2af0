"""Every public name of fastmlp has a complete numpydoc docstring."""

import enum
import importlib
import inspect
import pkgutil
import sys

import pytest
from numba.core.extending import _Intrinsic as Intrinsic
from numpydoc.docscrape import ClassDoc
from numpydoc.validate import validate

import fastmlp

IGNORED = {
    "EX01",  # examples are in the README and in the documentation
    "ES01",  # one line is often enough
    "SA01",  # "See Also" only where it helps
    "GL01",  # the text starts in the line of the quotes, as PEP 257 has it
    "PR08",  # a description may start with a symbol ...
    "PR09",  # ... and end with one
    "RT01",  # what only overwrites its arguments has nothing to return
    "RT02",  # what is returned may have a name, as in scikit-learn
    "RT03",  # the type of what is returned may say it all
}
IGNORED_IN = {
    "fastmlp.cli": {"GL03", "PR01"},  # docstrings are the command's help
    "fastmlp.kernels": {"PR03"},  # operands and their factors are described together
    "fastmlp.kernels.math": {"PR01"},  # the module states the contract of all its functions
}


def public_modules():
    """Names of all modules of fastmlp without an underscore in front."""
    modules = pkgutil.walk_packages(fastmlp.__path__, "fastmlp.")
    return ["fastmlp", *(module.name for module in modules if "._" not in module.name)]


def public_names():
    """Dotted names of the functions, classes and methods that the public modules list."""
    names = set()
    for module_name in public_modules():
        module = importlib.import_module(module_name)
        for name in getattr(module, "__all__", []):
            value = getattr(module, name)
            if callable(value):
                names.add(f"{module_name}.{name}")
            if inspect.isclass(value):
                names.update(f"{module_name}.{name}.{method}" for method in own_methods(value))
    return sorted(names)


def own_methods(cls):
    """Public methods and properties that fastmlp defines, not scikit-learn."""
    for name, method in inspect.getmembers(cls):
        function = method.fget if isinstance(method, property) else method
        module_name = getattr(function, "__module__", None) or ""
        is_ours = inspect.isroutine(function) and module_name.startswith("fastmlp")
        if is_ours and not name.startswith("_"):
            yield name


@pytest.mark.parametrize("name", public_modules())
def test_module(name):
    module = importlib.import_module(name)
    assert module.__doc__
    assert hasattr(module, "__all__") or hasattr(module, "__path__"), "list the public names"


def resolve(name):
    """The object behind a name; None for methods."""
    module_name, _, attribute = name.rpartition(".")
    return getattr(sys.modules.get(module_name), attribute, None)


def is_described_without_parameters(name):
    """Whether it is an enumeration, or a record whose fields are all under "Attributes"."""
    cls = resolve(name)
    if not inspect.isclass(cls):
        return False
    fields = getattr(cls, "__dataclass_fields__", None) or getattr(cls, "_fields", None)
    documented = ", ".join(entry.name for entry in ClassDoc(cls)["Attributes"]).split(", ")
    return issubclass(cls, enum.Enum) or (fields is not None and set(fields) <= set(documented))


@pytest.mark.parametrize("name", public_names())
def test_docstring(name):
    ignored = set(IGNORED)
    for prefix, codes in IGNORED_IN.items():
        if name.startswith(prefix + "."):
            ignored |= codes
    if is_described_without_parameters(name):
        ignored.add("PR01")
    if isinstance(resolve(name), Intrinsic):
        # What Numba calls has a parameter of Numba's own, and a caller's depend on its interface.
        ignored.add("PR01")
    faults = [f"{code}: {text}" for code, text in validate(name)["errors"] if code not in ignored]
    assert not faults, "\n".join([name, *faults])
