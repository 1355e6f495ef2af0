"""What a measurement was made on: hardware and versions."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["describe_machine", "usable_processors"]

_PACKAGES = ("fastmlp", "numpy", "scipy", "numba", "llvmlite", "scikit-learn", "torch", "jax")


def usable_processors() -> list[int]:
    """Return the processors that this process may use.

    Returns
    -------
    list of int
        Their numbers.
    """
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def describe_machine() -> dict[str, Any]:
    """Describe the hardware and the installed versions.

    Returns
    -------
    dict
        Plain values, ready for JSON.
    """
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": _processor_name(),
        "n_processors": len(usable_processors()),
        "caches": _caches(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: v for name in _PACKAGES if (v := _version(name))},
        "blas": _blas(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {key.strip(): value.strip() for key, _, value in (li.partition(":") for li in lines)}
    name = facts.get("model name", platform.machine())
    flags = facts.get("flags", "").split()
    vectors = next((v for v in ("avx512f", "avx2", "avx", "sse4_2") if v in flags), None)
    family = f"family {facts.get('cpu family')} model {facts.get('model')}"
    return f"{name} ({', '.join(filter(None, (family, vectors)))})"


def _caches() -> dict[str, str]:
    """Return the size of each level of cache of the first processor."""
    caches = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind = (folder / "type").read_text().strip()
        if kind != "Instruction":
            level = (folder / "level").read_text().strip()
            caches[f"L{level}"] = (folder / "size").read_text().strip()
    return caches


def _memory_gib() -> int | None:
    try:
        found = re.search(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return None
    return round(int(found[1]) / 2**20) if found else None


def _blas() -> list[str]:
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return []
    for name in ("numpy", "scipy.linalg"):  # only what is loaded is found
        import_module(name)
    return sorted(
        {
            f"{pool['internal_api']} {pool['version']} {pool.get('architecture', '')}".strip()
            for pool in threadpool_info()
            if pool["user_api"] == "blas"
        }
    )
