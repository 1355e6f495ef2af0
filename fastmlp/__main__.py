"""``python -m fastmlp``: the command line, or how to install it."""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["main"]


def main() -> None:
    """Run the command line; without its packages, say how to install them and exit with 1."""
    if any(find_spec(package) is None for package in ("click", "rich")):
        sys.exit("The fastmlp command needs more packages: pip install 'fastmlp[cli]'")
    from fastmlp.cli import cli

    cli(prog_name="fastmlp")


if __name__ == "__main__":
    main()
