"""Ratios are formed round by round; every row gets into the README, also those that are lost."""

import json

import pytest
import render
from ratios import fastest, geometric_mean, ratio
from rendering.markdown import three_digits
from rendering.measure_tables import cold_start


def row(workload, dtype, **seconds):
    return {
        "workload": workload,
        "network": "2-8-2 tanh",
        "n_samples": 2_000,
        "batch_size": 32,
        "solver": "sgd",
        "loss": "logistic",
        "data": "synthetic",
        "dtype": dtype,
        "flop_per_epoch": 320_000,
        "contestants": {
            f"{key[:-1].replace('_', '/')}/{key[-1]}": {"error": None, "seconds": values}
            for key, values in seconds.items()
        },
    }


@pytest.fixture
def results(tmp_path):
    rows = [
        row("won", "float32", fastmlp_fit1=[1.0, 1.0], fastmlp_fit2=[0.5, 0.5],
            sklearn_fit1=[4.0, 4.0], jax_jit1=[1.0, 1.0], replay_blas2=[0.4, 0.4]),
        row("won", "float64", fastmlp_fit2=[1.0], sklearn_fit1=[3.0]),
        row("lost", "float32", fastmlp_fit2=[2.0], sklearn_fit1=[3.0], jax_jit2=[1.0]),
    ]  # fmt: skip
    rows[2]["contestants"]["torch/eager/1"] = {"error": "Trace\nits loss differs", "seconds": []}
    machine = {
        "date": "2030-01-01",
        "n_processors": 2,
        "processor": "some processor",
        "caches": {"L1": "32K"},
        "system": "Linux",
        "python": "3.11",
        "packages": {"fastmlp": "1.0"},
        "blas": [],
    }
    content = {
        "machine": machine,
        "settings": {"rounds": 2, "seconds_per_sample": 0.25, "check_epochs": 2},
        "not_installed": [],
        "rows": rows,
    }
    (tmp_path / "peers.json").write_text(json.dumps(content))
    latencies = [
        {
            "library": library,
            "method": "predict",
            "n_rows": 1,
            "dtype": "float32",
            "p50_us": p50,
            "p99_us": 90.0,
        }
        for library, p50 in (("fastmlp", 5.0), ("sklearn", 60.0))
    ]
    (tmp_path / "latency.json").write_text(
        json.dumps({"machine": machine, "is_quick": False, "result": latencies})
    )
    return tmp_path


def test_the_fastest_is_the_one_with_the_least_ratio():
    others = {"torch_eager1": [2.0, 2.5, 9.0], "jax_jit1": [3.0, 3.0, 3.0]}
    assert fastest(row("x", "float32", fastmlp_fit1=[1.0, 4.0, 4.0], **others)) == "jax/jit/1"
    # By the smallest median, if there is nothing to compare with.
    assert fastest(row("x", "float32", **others)) == "torch/eager/1"


def test_ratios_are_formed_within_rounds():
    made = row("x", "float32", fastmlp_fit1=[1.0, 2.0, 4.0], jax_jit1=[2.0, 4.0, 4.0])
    r = ratio(made, "jax/jit/1", by="fastmlp/fit/1")
    assert (r.median, r.low, r.high) == (2.0, 1.5, 2.0)
    assert geometric_mean([1.0, 4.0]) == pytest.approx(2.0)


def test_sections_show_wins_losses_and_failures(results):
    short, full = render.render(results)
    for section in (short, full):
        assert "**2.00×**" in section  # JAX by fastmlp with two threads
        assert "**0.50×**" in section  # the lost row
        assert (
            "1.00× against the fastest peer of each row in float32 (least: 0.50×, lost)" in section
        )
        assert "some processor" in section
    assert "0.80× (0.80–0.80)" in full  # the replay by fastmlp
    assert "lost float32, torch/eager/1: its loss differs" in full
    assert "12.0×" in full
    assert "results/peers.svg" in short


def test_other_machines_have_sections_of_their_own(results):
    content = json.loads((results / "peers.json").read_text())
    content["machine"]["processor"] = "another processor"
    content["rows"].pop(1)
    (results / "peers-other.json").write_text(json.dumps(content))
    (results / "latency.json").write_text(
        (results / "latency.json").read_text().replace("some processor", "a third processor")
    )
    short, full = render.render(results)
    assert "another processor" not in short
    assert full.count("### On another processor") == 1
    assert full.count("lost float32, torch/eager/1: its loss differs") == 2
    assert "2 cores of another processor" in full
    assert "Not measured there: won float64.\n" in full
    assert full.index("### Prediction") < full.index("2 cores of a third processor")


def test_readme_is_rewritten_and_checked(results, capsys):
    readme, full = results / "README.md", results / "FULL.md"
    for path in (readme, full):
        path.write_text("before\n<!-- benchmark:begin -->\nold\n<!-- benchmark:end -->\nafter\n")
    words = ["--results", str(results), "--readme", str(readme), "--full-readme", str(full)]
    assert render.main([*words, "--check"]) == 1
    assert "not up to date" in capsys.readouterr().err
    assert "old" in readme.read_text()
    assert render.main(words) == 0
    text = readme.read_text()
    assert text.startswith("before\n<!-- benchmark:begin -->\n![")
    assert text.endswith("<!-- benchmark:end -->\nafter\n")
    assert "old" not in text
    assert render.main([*words, "--check"]) == 0
    assert (results / "peers.png").stat().st_size > 10_000
    svg = (results / "peers.svg").read_text()
    assert "won" in svg
    assert render.main(words) == 0
    assert (results / "peers.svg").read_text() == svg


def test_a_readme_without_markers_is_an_error(results, capsys):
    (results / "README.md").write_text("nothing here\n")
    words = ["--results", str(results), "--readme", str(results / "README.md")]
    assert render.main([*words, "--check"]) == 1
    assert "0 benchmark sections" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1234, "0.123"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (1234.0, "1,230")],
)
def test_three_digits(value, text):
    assert three_digits(value) == text


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [
        ([0.5, 0.5, 0.5], "is ahead of scikit-learn already at 100 rows."),
        ([2.0, 0.5, 0.5], "overtakes scikit-learn between 100 and 200 rows."),
        ([0.5, 2.0, 0.5], "overtakes scikit-learn between 200 and 400 rows."),
        ([2.0, 2.0, 2.0], "is not ahead of scikit-learn even at 400 rows."),
    ],
)
def test_cold_start_says_from_where_it_pays(seconds, verdict):
    situations = ("sklearn", "full cache", "empty cache")
    measured = {
        "iris": {name: [{"import": 1.0, "fit": 0.5}] for name in situations},
        "crossover": [
            {"n_samples": n, "sklearn": 1.0, "full cache": s, "empty cache": 3.0}
            for n, s in zip((100, 200, 400), seconds, strict=True)
        ],
        "crossover_epochs": 50,
        "crossover_features": 20,
    }
    text = cold_start(measured)
    assert f"- Compiled before, fastmlp {verdict}\n" in text
    assert "- With nothing compiled yet, it is not ahead" in text
