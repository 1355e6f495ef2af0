r"""
Scaling, a search, and what came out
====================================

Networks want features of about the same size. So the first step of nearly every pipeline is a
scaler; and since a pipeline is an estimator, a grid search can try out all its parameters.
"""

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import ConfusionMatrixDisplay, RocCurveDisplay
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastmlp import MLPClassifier
from fastmlp.plots import TrainingCurveDisplay

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, stratify=y, random_state=0
)

network = MLPClassifier(
    hidden_layer_sizes=(20,),
    early_stopping=True,
    n_iter_no_change=20,
    max_iter=500,
    learning_rate_init=0.005,
    random_state=0,
)
pipeline = make_pipeline(StandardScaler(), network)

print(f"not scaled: {cross_val_score(network, X_train, y_train).mean():.3f}")
print(f"scaled:     {cross_val_score(pipeline, X_train, y_train).mean():.3f}")

# %%
# The search
# ----------
#
# Parameters of a step are named by the step, two underscores, and the parameter. 5 folds of 9
# candidates are 45 fits, which ``n_jobs`` would share among processes.

search = GridSearchCV(
    pipeline,
    {
        "mlpclassifier__hidden_layer_sizes": [(), (10,), (20, 20)],
        "mlpclassifier__alpha": [1e-4, 1.0, 10.0],
    },
)
search.fit(X_train, y_train)
print("best:", search.best_params_)
print(f"on the test data: {search.score(X_test, y_test):.3f}")

results = pd.DataFrame(search.cv_results_)
results.pivot_table(
    values="mean_test_score",
    index="param_mlpclassifier__alpha",
    columns=results["param_mlpclassifier__hidden_layer_sizes"].map(str),
).round(3)

# %%
# Pictures
# --------
#
# The displays take the search as it is, scikit-learn's and those of fastmlp.

TrainingCurveDisplay.from_estimator(search)

# %%

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4))
ConfusionMatrixDisplay.from_estimator(
    search, X_test, y_test, ax=left, colorbar=False
)
RocCurveDisplay.from_estimator(search, X_test, y_test, ax=right)
