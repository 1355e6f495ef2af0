"""scikit-learn's face: the only folder that imports scikit-learn."""
