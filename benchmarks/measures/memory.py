"""Peak memory of a fit above that of its data, from the kernel's own count (Linux only)."""

from __future__ import annotations

import ctypes
import gc
import json
import re
import statistics
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from workloads import WORKLOADS, Task, Workload, make_task

from measures import LIBRARIES, run_script

__all__ = ["measure"]

EPOCHS = 2
# Of a small fit the peak differs by some pages from process to process.
REPEATS = 3


def measure(is_quick: bool) -> list[dict[str, Any]]:
    """Fit every workload in a process of its own.

    Parameters
    ----------
    is_quick : bool
        Whether one small workload will do.

    Returns
    -------
    list of dict
        Per workload, precision and library, medians of three processes, in bytes: "fit", the peak
        during fit above the memory held just before it (X, y and the loaded library, of which a
        shorter fit has used all parts); and "process", the peak of the whole process less the size
        of X.
    """
    results = []
    for name, workload in WORKLOADS.items():
        if name != "digits" and is_quick:
            continue
        for dtype in ("float32", "float64"):
            _fit_once("fastmlp", workload, dtype)  # compiled code is kept on disk
            for library in LIBRARIES:
                fits = [
                    _fit_once(library, workload, dtype) for _ in range(1 if is_quick else REPEATS)
                ]
                medians = {key: int(statistics.median(fit[key] for fit in fits)) for key in fits[0]}
                results.append({"workload": name, "dtype": dtype, "library": library, **medians})
    return results


def _fit_once(library: str, workload: Workload, dtype: str) -> dict[str, int]:
    with tempfile.TemporaryDirectory(prefix="fastmlp-benchmark-") as folder:
        make_task(workload, dtype).save(Path(folder))
        return run_script("memory.py", library, workload.name, dtype, folder)


def _measure_one(library: str, workload: str, dtype: str, folder: str) -> dict[str, int]:
    from peers.estimators import make_estimator

    warnings.simplefilter("ignore")
    task = Task.load(WORKLOADS[workload], dtype, Path(folder))
    X, y = task.X, task.y
    # Enough for the same way through the kernels, and for a compiled shuffle: the same code.
    few = max(2 * task.workload.batch_size, 2000)
    make_estimator(library, task.workload, 1).fit(X[:few], y[:few])
    gc.collect()
    # Else it is chance whether what the first fit gave back is held, and used again for nothing.
    if hasattr(system := ctypes.CDLL(None), "malloc_trim"):
        system.malloc_trim(0)
    peak_before, held = _memory("VmHWM"), _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # starts a new VmHWM
    make_estimator(library, task.workload, EPOCHS).fit(X, y)
    peak = _memory("VmHWM")
    return {"fit": peak - held, "process": max(peak, peak_before) - X.nbytes, "X": X.nbytes}


def _memory(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if found is None:
        raise OSError(f"/proc/self/status has no {field}")
    return int(found[1]) * 1024


if __name__ == "__main__":
    print(json.dumps(_measure_one(*sys.argv[1:])))
