"""The ``fastmlp`` command, built on click; tables and progress bars by rich.

Bad input ends with one line on stderr and exit code 2. Everything heavy is imported only when a
command needs it, so that ``fastmlp --help`` answers at once.
"""

from __future__ import annotations

import json
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

import fastmlp

if TYPE_CHECKING:
    from fastmlp.comparison import Comparison

__all__ = ["cli"]


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Keep click from printing the usage text around an error in the arguments."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        error.ctx = None
        raise


class _Group(click.Group):
    """A group of commands whose errors are one line each."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _one_line_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _one_line_errors():
            return super().invoke(ctx)


def _parse_layer_sizes(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a list of integers such as 256,128") from error


def _parse_batch_size(ctx: click.Context, param: click.Parameter, value: str) -> int | str:
    try:
        return value if value == "auto" else int(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is neither an integer nor 'auto'") from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(fastmlp.__version__)
def cli() -> None:
    """Multilayer perceptrons with scikit-learn's interface, compiled."""


@cli.command(context_settings={"show_default": True})
@click.argument("data", default="digits")
@click.option("--target", metavar="COLUMN", help="Column of the CSV file to predict.")
@click.option(
    "--task",
    type=click.Choice(["classification", "regression"]),
    help="What to learn from the CSV file.  [default: by the target]",
)
@click.option(
    "--hidden",
    "--hidden-layer-sizes",
    "hidden_layer_sizes",
    metavar="N,N,...",
    callback=_parse_layer_sizes,
    default="100",
    help="Units of each hidden layer.",
)
@click.option(
    "--activation",
    type=click.Choice(["identity", "logistic", "tanh", "relu"]),
    default="relu",
)
@click.option("--solver", type=click.Choice(["lbfgs", "sgd", "adam"]), default="adam")
@click.option("--alpha", type=float, default=1e-4, help="Strength of the L2 penalty.")
@click.option("--batch-size", metavar="N", callback=_parse_batch_size, default="auto")
@click.option(
    "--learning-rate", type=click.Choice(["constant", "invscaling", "adaptive"]), default="constant"
)
@click.option("--learning-rate-init", type=float, default=1e-3)
@click.option("--max-iter", type=click.IntRange(min=1), default=20, help="Epochs, at most.")
@click.option("--tol", type=float, default=1e-4)
@click.option("--early-stopping", is_flag=True, show_default=False)
@click.option("--random-state", type=click.IntRange(0, 2**32 - 1), default=0)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float64"]),
    default="float64",
    help="Type of the features, and so of the training.",
)
@click.option(
    "--repeats", type=click.IntRange(min=1), default=5, help="Timed fits of each library."
)
@click.option(
    "--test-size",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.25,
    help="Share of the rows kept for the test.",
)
@click.option(
    "--max-samples", type=click.IntRange(min=2), help="Use that many rows only, drawn at random."
)
@click.option("--json", "as_json", is_flag=True, show_default=False, help="Print JSON instead.")
def compare(
    data: str,
    target: str | None,
    task: Any,
    dtype: str,
    repeats: int,
    test_size: float,
    max_samples: int | None,
    random_state: int,
    as_json: bool,
    **parameters: Any,
) -> None:
    """Train fastmlp and scikit-learn on the same data and compare speed and results.

    DATA is digits, breast_cancer, diabetes, fashion (Fashion-MNIST), or the path of a CSV file
    with a line of column names. A classification is learned if the CSV file's target is text or
    holds integers of at most 20 different values, otherwise a regression.

    Options not described here are arguments of scikit-learn's MLPClassifier and MLPRegressor of
    the same name.
    """
    from fastmlp.comparison import compare_with_sklearn
    from fastmlp.datasets import load_dataset

    with _progress(2 * (1 + repeats), hidden=as_json) as advance:
        try:
            comparison = compare_with_sklearn(
                load_dataset(data, target, task),
                parameters,
                dtype=dtype,
                repeats=repeats,
                test_size=test_size,
                max_samples=max_samples,
                random_state=random_state,
                on_fit=advance,
            )
        except ValueError as error:
            raise click.UsageError(str(error).strip().split("\n", 1)[0]) from error
    if as_json:
        click.echo(json.dumps(comparison.to_dict(), indent=2))
    else:
        _print_comparison(comparison)


@cli.command()
def warmup() -> None:
    """Compile everything now, so that no fit has to wait for it later.

    For images of containers, for one. FASTMLP_CACHE_DIR says where compiled code is kept.
    """
    from rich.console import Console

    from fastmlp.warmup import cache_directory, warm_up

    console = Console(stderr=True)
    with console.status("Compiling, which takes about a minute at most"):
        for what, seconds in warm_up():
            click.echo(f"{seconds:6.2f} s  {what}")
    click.echo(f"Ready, in {cache_directory()}")


@cli.command(context_settings={"show_default": True})
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 for any.  [default: 8642, or any if that is taken]",
)
@click.option("--no-browser", is_flag=True, show_default=False, help="Do not open a browser.")
def playground(host: str, port: int | None, no_browser: bool) -> None:
    """Watch a small network learn, in the browser.

    Serves a page to this machine alone, unless --host says otherwise.
    """
    if any(find_spec(package) is None for package in ("starlette", "uvicorn", "websockets")):
        raise click.UsageError(
            "the playground needs more packages: pip install 'fastmlp[playground]'"
        )
    from fastmlp.playground.guard import is_loopback
    from fastmlp.playground.server import listen, serve

    try:
        listener = listen(host, port)
    except OSError as error:
        raise click.UsageError(f"cannot listen on {host}: {error.strerror or error}") from error
    name = f"[{host}]" if ":" in host else host
    url = f"http://{name}:{listener.getsockname()[1]}/"
    click.echo(f"The playground is at {url} (Ctrl+C ends it)")
    if not is_loopback(host):
        click.echo("Everyone who can reach this machine can use it.", err=True)
    serve(listener, host, None if no_browser else partial(webbrowser.open, url))


@contextmanager
def _progress(n_fits: int, hidden: bool) -> Iterator[Callable[[str], None]]:
    """Show a bar on stderr, if that is a terminal, which each call moves on to the next fit."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if hidden or not console.is_terminal:
        yield lambda library: None
        return
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    ) as progress:
        bar = progress.add_task("Loading the data", total=n_fits)
        n_started = 0

        def advance(library: str) -> None:
            nonlocal n_started
            progress.update(bar, completed=n_started, description=f"Fitting {library}")
            n_started += 1

        yield advance


def _print_comparison(comparison: Comparison) -> None:
    from rich.console import Console
    from rich.table import Table

    data, environment = comparison.data, comparison.environment
    fast, sklearn = comparison.fastmlp, comparison.sklearn
    n_classes = data["n_classes"]
    lowest, highest = comparison.speed_ratio_range

    table = Table()
    table.add_column()
    table.add_column("fastmlp", justify="right")
    table.add_column("scikit-learn", justify="right")
    table.add_row(
        f"Fit, median of {len(fast.fit_seconds)}",
        _seconds(fast.median_fit_seconds),
        _seconds(sklearn.median_fit_seconds),
    )
    table.add_row("Speed ratio", f"{comparison.speed_ratio:.2f}×", "1×")
    table.add_row("Range of ratios", f"{lowest:.2f}× to {highest:.2f}×", "")
    table.add_row(
        "First call on top (compilation)",
        _seconds(fast.first_call_seconds),
        _seconds(sklearn.first_call_seconds),
    )
    table.add_row(
        "Accuracy on the test part" if n_classes else "R² on the test part",
        f"{fast.score:.4f}",
        f"{sklearn.score:.4f}",
    )
    table.add_row("Training loss, loss_", f"{fast.loss:.6g}", f"{sklearn.loss:.6g}")
    table.add_row("Epochs, n_iter_", str(fast.n_iter), str(sklearn.n_iter))
    table.add_row("Largest difference in weights", f"{comparison.max_weight_difference:.1e}", "")

    kind = f"{n_classes} classes" if n_classes else "regression"
    versions = [f"{k} {v}" for k, v in environment.items() if k not in _MACHINE_KEYS]
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"{data['name']}: {data['n_train']} rows to train, {data['n_test']} to test, "
        f"{data['n_features']} features, {kind}, {data['dtype']}"
    )
    console.print(table)
    console.print(", ".join(f"{k}={v!r}" for k, v in comparison.parameters.items()))
    console.print(
        f"{', '.join(versions)}; {environment['n_cpus']} CPUs, "
        f"{environment['blas_threads']} BLAS threads"
    )
    for note in comparison.notes:
        console.print(f"Note: {note}")


_MACHINE_KEYS = ("n_cpus", "blas_threads")


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"
