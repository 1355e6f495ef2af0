"""Measure what the time of an epoch does not tell, see ``measures``; results as JSON."""

from __future__ import annotations

import argparse
import json
from importlib import import_module
from pathlib import Path

from machine import describe_machine
from rich.console import Console

MEASURES = (
    "latency", "cold_start", "memory", "grid_search", "accuracy", "best_accuracy", "features",
    "recipe", "protections",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Run one measure or all from the command line.

    Parameters
    ----------
    arguments : list of str or None
        Words of the command line; None: those of this process.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", choices=[*MEASURES, "all"], metavar="NAME",
                        help=f"{', '.join(MEASURES)} or all")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="a trial, not a measurement")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "results",
                        help="where to write NAME.json")  # fmt: skip
    options = parser.parse_args(arguments)
    console = Console()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in MEASURES if "all" in options.names else options.names:
        with console.status(f"measuring {name}"):
            result = import_module(f"measures.{name}").measure(options.quick)
        path = options.folder / f"{name}.json"
        content = {"machine": describe_machine(), "is_quick": options.quick, "result": result}
        path.write_text(json.dumps(content, indent=1) + "\n")
        console.print(f"{name}: written to {path}")


if __name__ == "__main__":
    main()
