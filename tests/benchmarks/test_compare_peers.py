"""The comparison runs, finds equal loss curves, and does not time whoever differs."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import compare_peers
import probe
import pytest
from machine import usable_processors
from peers import PEERS
from rendering.peer_tables import failures
from rich.console import Console
from worker import Worker, WorkerError
from workloads import WORKLOADS


def run(tmp_path, *arguments):
    path = tmp_path / "result.json"
    words = ["--threads", "1", "--seconds", "0.01", "--output", str(path), *arguments]
    options = compare_peers.parse_arguments(words)
    console = Console(file=io.StringIO(), width=200)
    result = compare_peers.compare(options, console)
    compare_peers.print_summary(result, console)
    assert json.loads(path.read_text()) == result
    return result, console.file.getvalue()


def test_checks_and_times_every_contestant(tmp_path):
    names = ["tiny", "full-batch"]
    result, printed = run(
        tmp_path, "--workloads", *names, "--peers", "fastmlp", "sklearn", "--rounds", "2"
    )
    assert [(row["workload"], row["dtype"]) for row in result["rows"]] == [
        (name, dtype) for name in names for dtype in ("float32", "float64")
    ]
    for row in result["rows"]:
        assert list(row["contestants"]) == ["fastmlp/fit/1", "sklearn/fit/1"]
        for contestant in row["contestants"].values():
            assert contestant["error"] is None
            assert contestant["loss_error"] <= compare_peers.LOSS_TOLERANCE[row["dtype"]]
            assert len(contestant["seconds"]) == 2
            assert min(contestant["seconds"]) > 0
    assert "sklearn/fit/1" in printed
    assert result["machine"]["packages"]["scikit-learn"]


def test_rows_are_added_to_those_of_the_same_machine_and_settings(tmp_path):
    words = ["--peers", "fastmlp", "--rounds", "1", "--workloads", "tiny"]
    # The first ones have nothing to be added to.
    before, _ = run(tmp_path, *words, "full-batch", "--dtypes", "float64", "--add")
    after, _ = run(tmp_path, *words, "--dtypes", "float32", "float64", "--add")
    assert [(row["workload"], row["dtype"]) for row in after["rows"]] == [
        ("full-batch", "float64"), ("tiny", "float32"), ("tiny", "float64")
    ]  # fmt: skip
    assert after["rows"][0] == before["rows"][1]
    with pytest.raises(SystemExit, match=r"Rows cannot be added .* Its settings: "):
        run(tmp_path, *words, "--rounds", "2", "--add")


NEAR = 3e-7


# What the probes say, twice per try of a sample of two threads; which tries are kept, with which
# slowdowns and distances; and what to warn of.
@pytest.mark.parametrize(
    ("slowdowns", "distances", "kept", "noted", "warning"),
    [
        ([1.0, 1.1] * 2, [NEAR] * 4, [0, 1], ([1.1, 1.1], [NEAR, NEAR]), ""),
        (
            [2.0, 1.0, 1.0, 2.0, 1.1, 1.2, 1.0, 1.0], [NEAR] * 8, [2, 3],
            ([1.2, 1.0], [NEAR, NEAR]), "",
        ),
        ([1.0] * 6, [2e-6, NEAR, 4e-7, NEAR, NEAR, NEAR], [1, 2], ([1.0, 1.0], [4e-7, NEAR]), ""),
        (
            [2.0, 2.1] * 4 + [1.0, 1.0], [NEAR] * 10, [3, 4], ([2.1, 1.0], [NEAR, NEAR]),
            "two threads had not two cores",
        ),
        (
            [1.0] * 10, [NEAR, 2e-6] * 4 + [NEAR, NEAR], [3, 4], ([1.0, 1.0], [2e-6, NEAR]),
            "the cores of two threads were far apart",
        ),
    ],
)  # fmt: skip
def test_a_sample_without_two_near_cores_is_repeated(
    tmp_path, monkeypatch, slowdowns, distances, kept, noted, warning
):
    slowdowns, distances = iter(slowdowns), iter(distances)
    monkeypatch.setattr(compare_peers, "slowdown_of_two_threads", lambda: next(slowdowns))
    monkeypatch.setattr(compare_peers, "seconds_apart", lambda: next(distances))
    ask, answers = compare_peers.Comparison._ask, {}

    def ask_and_keep(self, who, command, **arguments):
        answer = ask(self, who, command, **arguments)
        if command == "run":
            answers.setdefault(who.key, []).append(answer)
        return answer

    monkeypatch.setattr(compare_peers.Comparison, "_ask", ask_and_keep)
    result, printed = run(
        tmp_path, "--workloads", "tiny", "--peers", "sklearn", "--dtypes", "float32",
        "--threads", "1", "2", "--rounds", "2",
    )  # fmt: skip
    assert next(slowdowns, None) is next(distances, None) is None
    one, two = result["rows"][0]["contestants"].values()
    assert (one["slowdowns"], one["seconds_apart"]) == ([1.0, 1.0], [0.0, 0.0])
    assert (two["slowdowns"], two["seconds_apart"]) == noted
    # The last runs are the samples: before them all was checked, and the epochs were counted.
    tries = answers["sklearn/fit/2"][-(kept[-1] + 1) :]
    assert two["seconds"] == [tries[k] / two["epochs"] for k in kept]
    for text in (printed, failures(result)):
        assert ("samples" in text) == bool(warning)
        assert not warning or f"tiny float32: in 1 of 4 samples {warning}" in text


def test_the_probe_tells_one_core_from_two():
    script = "import probe; print(probe.slowdown_of_two_threads())"
    if hasattr(os, "sched_setaffinity"):
        script = f"import os; os.sched_setaffinity(0, {{{usable_processors()[0]}}}); {script}"
        least = probe.MOST_SLOWDOWN
    else:
        least = 0.0
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(probe.__file__).parent, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert float(done.stdout) > least


def test_the_probe_tells_how_long_two_threads_take_to_meet():
    assert 0 < probe.seconds_apart() < 1


@pytest.mark.parametrize("name", ["torch", "jax", "replay"])
def test_optional_peers(tmp_path, name):
    pytest.importorskip(PEERS[name].requires)
    # digits: large enough for the replay, softmax, adam, and a last batch that is smaller
    result, _ = run(
        tmp_path, "--workloads", "digits", "tiny", "--peers", name, "--dtypes", "float64",
        "--rounds", "1",
    )  # fmt: skip
    digits, tiny = (row["contestants"] for row in result["rows"])
    assert bool(tiny) != PEERS[name].is_limit
    for contestant in [*digits.values(), *tiny.values()]:
        assert contestant["error"] is None
        assert len(contestant["seconds"]) == 1


def test_a_wrong_loss_curve_is_shown_and_not_timed(tmp_path, monkeypatch):
    monkeypatch.setitem(compare_peers.LOSS_TOLERANCE, "float32", -1.0)
    result, printed = run(
        tmp_path, "--workloads", "tiny", "--peers", "sklearn", "--dtypes", "float32"
    )
    contestant = result["rows"][0]["contestants"]["sklearn/fit/1"]
    assert contestant["seconds"] == []
    assert "loss curve differs" in contestant["error"]
    assert "loss curve differs" in printed


def test_a_failing_peer_is_shown(tmp_path, monkeypatch):
    broken = PEERS["sklearn"]
    monkeypatch.setattr(type(broken), "is_installed", lambda self: True)
    monkeypatch.setitem(compare_peers.PEERS, "nowhere", broken)
    monkeypatch.setattr(
        compare_peers, "contestants", lambda *_: [compare_peers.Contestant("nowhere", 1, "fit")]
    )
    result, printed = run(tmp_path, "--workloads", "tiny", "--dtypes", "float32")
    (contestant,) = result["rows"][0]["contestants"].values()
    assert contestant["seconds"] == []
    assert "the process ended" in contestant["error"]
    assert "the process ended" in printed


def test_every_workload_has_a_peer_that_is_always_there():
    for workload in WORKLOADS.values():
        peers = compare_peers.contestants(workload, list(PEERS), [1], [])
        assert {"fastmlp", "sklearn"} <= {who.peer for who in peers}


def test_a_peer_that_does_not_answer_is_ended():
    worker = Worker("sklearn", 1, timeout=0.0)
    with pytest.raises(WorkerError, match="no answer in 0 s"):
        worker.ask("forget")
    assert not worker.is_alive()
    worker.close()
