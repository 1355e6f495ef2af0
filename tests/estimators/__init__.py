"""Tests of the scikit-learn face of fastmlp."""
