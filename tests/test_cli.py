"""The command line: what it prints, its errors of one line, and what it does not import."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import fastmlp
from fastmlp import comparison, datasets
from fastmlp.cli import cli
from fastmlp.comparison import compare_with_sklearn
from fastmlp.datasets import Dataset

QUICK = ["--max-iter", "2", "--repeats", "1", "--hidden", "5"]


@pytest.fixture(autouse=True)
def quiet_machine(monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))


def run(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def run_python(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def run_json(*arguments):
    result = run("compare", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    return json.loads(result.stdout)


@pytest.fixture
def csv_file(tmp_path):
    """A table whose column `kind` is a class and `size` a number that a linear model can find."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    lines = [f"{a},{b},{'big' if a > b else 'small'},{a + 2 * b}" for a, b in X]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["a,b,kind,size", *lines]))
    return path


# warmup


def test_warmup_makes_everything_ready():
    result = run("warmup")
    assert result.exit_code == 0, result.output
    ways = ("batches through wide layers", "batches through narrow layers", "single samples")
    for what in (*(f"training by {way}" for way in ways), "prediction"):
        assert f"{what}, float32" in result.output
        assert f"{what}, float64" in result.output
    assert "Ready, in " in result.output


# What compare prints


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "diabetes"])
def test_compare_table(name):
    result = run("compare", name, *QUICK)
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    for row in (
        "Fit, median of 1",
        "Speed ratio",
        "First call on top (compilation)",
        "R² on the test part" if name == "diabetes" else "Accuracy on the test part",
        "Epochs, n_iter_",
        "Largest difference in weights",
    ):
        assert row in result.stdout
    assert result.stdout.startswith(f"{name}: ")
    assert f"fastmlp {fastmlp.__version__}, scikit-learn " in result.stdout


def test_compare_fashion(monkeypatch):
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, (80, 784)).astype(np.uint8), np.arange(80, dtype=np.uint8) % 10
    monkeypatch.setitem(
        datasets.DATASETS, "fashion", lambda: Dataset("fashion", X, y, "classification")
    )
    data = run_json("fashion", *QUICK)["data"]
    assert (data["n_train"], data["n_test"], data["n_classes"]) == (60, 20, 10)


def test_compare_defaults_to_digits():
    outcome = run_json("--max-iter", "3", "--repeats", "2")
    assert outcome["data"]["name"] == "digits"
    assert outcome["parameters"]["hidden_layer_sizes"] == [100]
    assert len(outcome["fastmlp"]["fit_seconds"]) == 2
    assert outcome["fastmlp"]["n_iter"] == outcome["sklearn"]["n_iter"] == 3
    assert outcome["fastmlp"]["score"] == outcome["sklearn"]["score"] > 0.3
    assert outcome["max_weight_difference"] < 1e-9
    ratios = [
        slow / fast
        for slow, fast in zip(
            outcome["sklearn"]["fit_seconds"], outcome["fastmlp"]["fit_seconds"], strict=True
        )
    ]
    assert outcome["speed_ratio_range"] == [min(ratios), max(ratios)]


@pytest.mark.parametrize(("target", "score"), [("kind", 0.8), ("size", 0.9)])
def test_compare_csv(csv_file, target, score):
    other = {"kind": "size", "size": "kind"}[target]
    columns = [line.split(",") for line in csv_file.read_text().splitlines()]
    drop = columns[0].index(other)
    csv_file.write_text("\n".join(",".join(c[:drop] + c[drop + 1 :]) for c in columns))
    outcome = run_json(
        csv_file, "--target", target, "--max-iter", "200", "--learning-rate-init", "0.01"
    )
    assert outcome["data"]["name"] == "table.csv"
    assert outcome["data"]["task"] == ("classification" if target == "kind" else "regression")
    assert outcome["fastmlp"]["score"] > score
    assert outcome["fastmlp"]["n_iter"] == outcome["sklearn"]["n_iter"]


def test_compare_passes_arguments_on():
    outcome = run_json(
        "breast_cancer",
        *("--hidden-layer-sizes", "4,3", "--activation", "tanh", "--solver", "sgd"),
        *("--alpha", "0.1", "--batch-size", "50", "--learning-rate", "adaptive"),
        *("--learning-rate-init", "0.05", "--max-iter", "4", "--tol", "0.01"),
        *("--early-stopping", "--random-state", "7", "--repeats", "1"),
        *("--dtype", "float32", "--test-size", "0.5", "--max-samples", "200"),
    )
    assert outcome["parameters"] == {
        "hidden_layer_sizes": [4, 3],
        "activation": "tanh",
        "solver": "sgd",
        "alpha": 0.1,
        "batch_size": 50,
        "learning_rate": "adaptive",
        "learning_rate_init": 0.05,
        "max_iter": 4,
        "tol": 0.01,
        "early_stopping": True,
        "random_state": 7,
    }
    assert outcome["data"]["dtype"] == "float32"
    assert (outcome["data"]["n_train"], outcome["data"]["n_test"]) == (100, 100)
    assert outcome["max_weight_difference"] < 1e-3


def test_json_has_no_infinity():
    run = comparison.Run(1.0, [1.0], score=-np.inf, n_iter=1, loss=np.nan).to_dict()
    assert run["score"] is run["loss"] is None


def test_compare_notes_warnings_once():
    arguments = ["breast_cancer", *QUICK, "--batch-size", "100000"]
    (note,) = run_json(*arguments)["notes"]
    assert note.startswith("Got `batch_size` less than 1 or larger than sample size")
    assert f"Note: {note}" in run("compare", *arguments).stdout


def test_compare_notes_a_busy_machine(monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (1000.0, 1.0, 1.0))
    (note,) = run_json("breast_cancer", *QUICK)["notes"]
    assert note.startswith("The machine is busy, so times mean little: load 1000.0 on ")


def test_compare_classes_with_one_row_only(csv_file):
    kinds = ["rare", *("even", "odd") * 20]
    csv_file.write_text("x,y\n" + "".join(f"{i},{kind}\n" for i, kind in enumerate(kinds)))
    assert run_json(csv_file, "--target", "y", *QUICK)["data"]["n_train"] == 30


# Errors


def assert_one_line_error(result, message):
    assert result.exit_code == 2
    assert result.stdout == ""
    assert re.fullmatch(rf"Error: .*{message}.*\n", result.stderr), result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.csv", "--target", "y"], "no such file: missing.csv"),
        (["no/such/file", "--target", "y"], "no such file: no/such/file"),
        (["iris"], "unknown data set 'iris'; known are digits, breast_cancer, diabetes, fashion"),
        (["digits", "--target", "y"], "for CSV files only"),
        (["digits", "--task", "regression"], "for CSV files only"),
        (["--hidden", "ten"], "'ten' is not a list of integers"),
        (["--hidden", "0"], "hidden_layer_sizes"),
        (["--batch-size", "all"], "'all' is neither an integer nor 'auto'"),
        (["--activation", "softmax"], "'softmax' is not one of"),
        (["--solver", "newton"], "'newton' is not one of"),
        (["--max-iter", "0"], "0 is not in the range"),
        (["--repeats", "0"], "0 is not in the range"),
        (["--test-size", "1"], "1.0 is not in the range"),
        (["--test-size", "0.0001"], "the test part needs at least 2"),
        (["--max-samples", "3"], "the test part needs at least 2"),
        (["--alpha", "-1"], "alpha"),
        (["--learning-rate-init", "0"], "learning_rate_init"),
        (["--no-such-option"], "No such option"),
        (["digits", "diabetes"], "unexpected extra argument"),
    ],
)
def test_bad_arguments(arguments, message):
    assert_one_line_error(run("compare", *arguments), re.escape(message))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"x,y\n", "has no rows"),
        (b"a,b\n1,2\n", "no column 'y'"),
        (b"x,y\nred,1\n2,0\n", "column 'x' is not numeric"),
        (b"x,y\n\xff\xfe,1\n", "is not UTF-8 text"),
        (b"x,y\n,1\n2,0\n", "column 'x' has 1 missing value"),
        (b"x,y\n1,0\n2,1\n", "the test part needs at least 2"),
        (b"x,y\n" + b"1,3.5\n" * 30, "the same value in every row"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_csv(tmp_path, content, message):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    assert_one_line_error(run("compare", path, "--target", "y"), re.escape(message))


def test_csv_without_target(csv_file):
    message = "needs a target (--target COLUMN); its columns are 'a', 'b', 'kind', 'size'"
    assert_one_line_error(run("compare", csv_file), re.escape(message))


def test_unknown_command():
    assert_one_line_error(run("train"), "No such command 'train'")


def test_fashion_not_to_be_had(monkeypatch):
    def load():
        raise datasets.DatasetError("Fashion-MNIST is not here: install ...")

    monkeypatch.setitem(datasets.DATASETS, "fashion", load)
    assert_one_line_error(run("compare", "fashion"), "Fashion-MNIST is not here")


def test_divergence_names_the_library():
    result = run("compare", "diabetes", "--solver", "sgd", "--learning-rate-init", "1e300")
    assert_one_line_error(result, "fastmlp: Solver produced non-finite parameter weights")


def test_interrupt_ends_the_comparison(monkeypatch):
    class Interrupted(fastmlp.MLPRegressor):
        def fit(self, X, y):
            import warnings

            warnings.warn("Training interrupted by user.", stacklevel=2)
            return self

    monkeypatch.setattr(
        comparison,
        "_import_estimators",
        lambda task: {"fastmlp": Interrupted, "scikit-learn": Interrupted},
    )
    with pytest.raises(KeyboardInterrupt):
        compare_with_sklearn(datasets.load_diabetes())
    assert run("compare", "diabetes").exit_code == 1


# The command in a process of its own


def test_no_arguments_shows_help():
    result = run_python("-m", "fastmlp")
    assert result.returncode == 2
    assert "compare" in result.stdout + result.stderr


def test_version():
    result = run_python("-m", "fastmlp", "--version")
    assert result.stdout == f"fastmlp, version {fastmlp.__version__}\n"
    assert result.returncode == 0


def test_command_line_error():
    result = run_python("-m", "fastmlp", "compare", "iris")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("package", ["click", "rich"])
def test_without_the_extra(package):
    result = run_python(
        "-c",
        f"import sys; sys.modules[{package!r}] = None; from fastmlp.__main__ import main; main()",
    )
    assert result.returncode == 1
    assert result.stderr == (
        "The fastmlp command needs more packages: pip install 'fastmlp[cli]'\n"
    )


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import fastmlp", ["numba", "numpy", "scipy", "sklearn", "pandas", "rich"]),
        ("import fastmlp.cli", ["numba", "numpy", "scipy", "sklearn", "pandas", "rich"]),
        ("from fastmlp import MLPClassifier", ["click"]),  # scikit-learn imports pandas and rich
    ],
)
def test_lazy_imports(statement, unwanted):
    result = run_python("-c", f"import sys; {statement}; print(*sys.modules)")
    assert result.returncode == 0, result.stderr
    assert not {"matplotlib", *unwanted} & set(result.stdout.split())


def test_estimators_need_no_extra():
    code = """
import sys
sys.modules.update(dict.fromkeys(["click", "matplotlib", "pandas", "rich"]))
from fastmlp import MLPRegressor
MLPRegressor(max_iter=100).fit([[0.0], [1.0]], [0.0, 1.0]).predict([[2.0]])
"""
    result = run_python("-W", "ignore", "-c", code)
    assert result.returncode == 0, result.stderr


def test_without_pandas(csv_file):
    code = f"""
import sys
sys.modules["pandas"] = None
from fastmlp.cli import cli
cli(["compare", {str(csv_file)!r}, "--target", "size"])
"""
    result = run_python("-c", code)
    assert result.returncode == 2
    assert result.stderr == "Error: CSV files need pandas: pip install 'fastmlp[cli]'\n"
