"""The documentation says what the code does: its examples run, and no public name is missing."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

import fastmlp
from tests.test_docstrings import public_modules

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    page
    for page in DOCS.rglob("*.rst")
    if not {"_build", "auto_examples", "generated", "_templates"} & set(page.parts)
)
EXAMPLES = sorted((DOCS / "examples").rglob("*.py"))
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def names(paths):
    return [str(path.relative_to(ROOT)) for path in paths]


# --------------------------------------------------------------------------------------
# Examples in pages and docstrings
# --------------------------------------------------------------------------------------


def run(test):
    """Run the examples of a page or a docstring; a warning fails them, as it would any test."""
    assert not any(doctest.SKIP in example.options for example in test.examples)
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    report = []
    runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if ">>> " in page.read_text("utf-8")],
    ids=lambda page: page.stem,
)
def test_pages(page):
    text = page.read_text(encoding="utf-8")
    run(doctest.DocTestParser().get_doctest(text, {}, page.stem, str(page), 0))


def docstrings_with_examples():
    """The docstrings of public modules, and of what is in them, that have examples."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    modules = [importlib.import_module(name) for name in public_modules()]
    tests = [test for module in modules for test in finder.find(module, module.__name__)]
    return [test for test in tests if test.examples]


@pytest.mark.parametrize("test", docstrings_with_examples(), ids=lambda test: test.name)
def test_docstrings(test):
    run(test)


def test_the_estimators_and_displays_have_examples():
    tested = {test.name.rpartition(".")[2] for test in docstrings_with_examples()}
    assert tested >= {
        "MLPClassifier", "MLPRegressor", "TrainingCurveDisplay", "HiddenUnitsDisplay",
        "FirstLayerWeightsDisplay",
    }  # fmt: skip


# --------------------------------------------------------------------------------------
# The gallery: scripts/docs runs it, here is what it cannot notice
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", EXAMPLES, ids=names(EXAMPLES))
def test_every_example_is_told(example):
    text = example.read_text(encoding="utf-8")
    title, underline = text.split("\n")[1:3]
    assert re.fullmatch("=+", underline), "starts with a title"
    assert len(underline) == len(title)
    assert re.search(r"^# %%\n# \w", text, re.MULTILINE), "has text between the code"


def test_the_readme_links_to_every_page_of_the_course():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for example in names(EXAMPLES):
        assert f"({example})" in readme


# --------------------------------------------------------------------------------------
# The reference
# --------------------------------------------------------------------------------------


def documented():
    """What the autosummaries of the reference list, modules with all that is in them."""
    listed = set()
    for page in (DOCS / "api").glob("*.rst"):
        prefix = ""
        text = page.read_text(encoding="utf-8")
        for module, names in re.findall(
            r"^\.\. currentmodule:: (\S+)$|^\.\. autosummary::\n((?:   .*\n|\n)+)",
            text,
            re.MULTILINE,
        ):
            prefix = f"{module}." if module else prefix
            listed.update(
                prefix + name for name in re.findall(r"^   ([\w.]+)$", names, re.MULTILINE)
            )
    return listed


def is_documented(module_name, name):
    """Whether a name is listed, or its module or a package that contains it."""
    listed = documented()
    value = getattr(importlib.import_module(module_name), name)
    parts = f"{module_name}.{name}".split(".")
    if any(".".join(parts[:length]) in listed for length in range(2, len(parts) + 1)):
        return True
    # The face of the package shows under a shorter name what lives deeper down.
    for shorter in listed:
        home, _, shown = shorter.rpartition(".")
        if shown == name and getattr(importlib.import_module(home), name, None) is value:
            return True
    return False


@pytest.mark.parametrize("module_name", public_modules())
def test_every_public_name_is_in_the_reference(module_name):
    module = importlib.import_module(module_name)
    public = [name for name in getattr(module, "__all__", []) if not name.startswith("__")]
    missing = [name for name in public if not is_documented(module_name, name)]
    assert not missing


def test_the_reference_lists_nothing_that_does_not_exist():
    assert "fastmlp.MLPClassifier" in documented()
    for name in documented():
        home, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(home), attribute) or importlib.import_module(name)


def test_the_citation_names_this_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {fastmlp.__version__}\n" in citation
