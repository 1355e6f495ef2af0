"""Make tables and a chart of the results, and put them into the README files.

Text between ``<!-- benchmark:begin -->`` and ``<!-- benchmark:end -->`` is replaced: by a summary
in the README of the project, by everything in that of this folder.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from rendering.chart import draw_chart
from rendering.measure_tables import OTHER_MEASURES
from rendering.peer_tables import details, failures, machine_line, summary

BENCHMARKS = Path(__file__).parent
SECTION = re.compile(r"(<!-- benchmark:begin -->\n).*?(<!-- benchmark:end -->)", re.DOTALL)


def render(results: Path) -> tuple[str, str]:
    """Return the sections of both README files.

    Parameters
    ----------
    results : Path
        Folder of the JSON files; each ``peers-*.json`` is of another machine.

    Returns
    -------
    short, full : str
        Markdown for the project's README and for that of the benchmarks.
    """
    peers = json.loads((results / "peers.json").read_text())
    chart_title = "Time of an epoch as a multiple of fastmlp's, for each workload and peer"
    machine = machine_line(peers["machine"])
    short = (
        f"![{chart_title}](benchmarks/results/peers.svg)\n\n{summary(peers)}\n{machine}"
        "The peers at their best, all numbers and how they were taken: "
        "[benchmarks/README.md](benchmarks/README.md).\n"
    )
    full = f"![{chart_title}](results/peers.svg)\n\n{summary(peers)}\n{_all_numbers(peers)}"
    for path in sorted(results.glob("peers-*.json")):
        others = json.loads(path.read_text())
        # In the same order, whatever was measured when.
        places = {(row["workload"], row["dtype"]): i for i, row in enumerate(peers["rows"])}
        others["rows"].sort(
            key=lambda row: places.get((row["workload"], row["dtype"]), len(places))
        )
        full += f"\n### On {others['machine']['processor']}\n\n{summary(others)}\n"
        full += _all_numbers(others)
        there = {(row["workload"], row["dtype"]) for row in others["rows"]}
        if left_out := [" ".join(row) for row in places if row not in there]:
            full += f"\nNot measured there: {', '.join(left_out)}.\n"
    for name, (title, write) in OTHER_MEASURES.items():
        path = results / f"{name}.json"
        if path.exists():
            measured = json.loads(path.read_text())
            full += f"\n### {title}\n\n{write(measured['result'])}"
            if measured["machine"]["processor"] != peers["machine"]["processor"]:
                full += f"\n{machine_line(measured['machine'])}"
            if measured["is_quick"]:
                full += "\nA trial run, not a measurement.\n"
    return short, full


def _all_numbers(peers: dict[str, Any]) -> str:
    """Return every contestant's times, and how and where they were measured."""
    settings = peers["settings"]
    return (
        f"{details(peers, 'float32')}{details(peers, 'float64')}"
        f"Medians of {settings['rounds']} rounds of at least "
        f"{settings['seconds_per_sample']:g} s each. {machine_line(peers['machine'])}\n"
        f"{failures(peers)}"
    )


def replace_section(text: str, section: str) -> str:
    """Replace what stands between the markers.

    Parameters
    ----------
    text : str
        A file with the markers.
    section : str
        What is to stand between them.

    Returns
    -------
    str
        The new text.

    Raises
    ------
    ValueError
        If there are no markers.
    """
    new, n_sections = SECTION.subn(lambda found: found[1] + section + found[2], text)
    if n_sections != 1:
        raise ValueError(f"there are {n_sections} benchmark sections, not 1")
    return new


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line.

    Parameters
    ----------
    arguments : list of str or None
        Words of the command line; None: those of this process.

    Returns
    -------
    int
        Exit code: 1 if ``--check`` finds a README that is not up to date, or one without markers.
    """
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--results", type=Path, default=BENCHMARKS / "results")
    parser.add_argument("--readme", type=Path, default=BENCHMARKS.parent / "README.md")
    parser.add_argument("--full-readme", type=Path, default=BENCHMARKS / "README.md")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if a README is not up to date"
    )
    options = parser.parse_args(arguments)
    sections = render(options.results)
    exit_code = 0
    for path, section in zip((options.readme, options.full_readme), sections, strict=True):
        try:
            old = path.read_text(encoding="utf-8")
            new = replace_section(old, section)
        except (OSError, ValueError) as error:
            print(f"{path}: {error}", file=sys.stderr)
            exit_code = 1
            continue
        if options.check and new != old:
            print(f"{path}: not up to date", file=sys.stderr)
            exit_code = 1
        elif not options.check:
            path.write_text(new, encoding="utf-8")
    if not options.check:
        result = json.loads((options.results / "peers.json").read_text())
        draw_chart(result, "float32", options.results / "peers")
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
