"""Write the model files of this version that later versions must be able to load, to tests/data.

Run it once per release; files of earlier releases stay as they are.
"""

import json
from pathlib import Path

import numpy as np

import fastmlp

FOLDER = Path(__file__).parents[1] / "tests" / "data"


def main() -> None:
    """Write a classifier and a regressor, and what they predict."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(60, 3))
    dates = np.array(["2019-12-31", "2024-02-29", "2026-11-24"], "datetime64[D]")
    models = {
        "classifier": fastmlp.MLPClassifier(
            (5,), activation="prelu", early_stopping=True, max_iter=5, random_state=0
        ).fit(X, dates[np.arange(60) % 3]),
        "regressor": fastmlp.MLPRegressor(
            hidden_layer_sizes=(4, 3),
            solver="sgd",
            learning_rate="invscaling",
            max_iter=5,
            tol=10,
            random_state=0,
        ).fit(X, X[:, :2]),
    }
    FOLDER.mkdir(exist_ok=True)
    for name, model in models.items():
        path = FOLDER / f"{name}-{fastmlp.__version__}.fastmlp"
        model.save(path)
        expected = {"X": X[:5].tolist()}
        if name == "classifier":
            expected["labels"] = model.predict(X[:5]).astype(str).tolist()
            expected["outputs"] = model.predict_proba(X[:5]).tolist()
        else:
            expected["outputs"] = model.predict(X[:5]).tolist()
        path.with_suffix(".json").write_text(json.dumps(expected) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
