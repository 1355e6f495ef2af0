"""What a new process goes through until its first model is fitted; run by `cold_start`.

Nothing is imported before the clock starts but what Python itself has loaded anyway.
"""

import sys
import time

if __name__ == "__main__":
    module, path, max_iter = sys.argv[1:]
    start = time.perf_counter()
    import importlib

    MLPClassifier = importlib.import_module(module).MLPClassifier
    imported = time.perf_counter()
    import warnings

    import numpy as np

    warnings.simplefilter("ignore")
    with np.load(path) as data:
        X, y = data["X"], data["y"]
    loaded = time.perf_counter()
    never = {"tol": 0.0, "n_iter_no_change": np.inf}
    MLPClassifier(max_iter=int(max_iter), random_state=0, **never).fit(X, y)
    fitted = time.perf_counter()
    print(f'{{"import": {imported - start}, "fit": {fitted - loaded}}}')
