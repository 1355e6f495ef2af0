"""The points of the problems, the features, and the grid of the maps."""

import numpy as np
import pytest

from fastmlp.playground.problems import (
    EXTENT,
    FEATURES,
    N_SAMPLES,
    PROBLEMS,
    compute_features,
    make_grid,
    make_problem,
)


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_points_and_targets(name, noise):
    problem = make_problem(name, noise=noise, train_share=0.3, seed=5)
    assert problem.points_train.shape == (120, 2)
    assert problem.points_test.shape == (N_SAMPLES - 120, 2)
    points = np.concatenate([problem.points_train, problem.points_test])
    y = np.concatenate([problem.y_train, problem.y_test])
    assert np.isfinite(points).all()
    if noise == 0:
        assert np.abs(points).max() <= EXTENT
    if problem.task == "classification":
        assert np.bincount(y.astype(int)).tolist() == [N_SAMPLES // 2] * 2
    else:
        assert -1 <= y.min() < 0 < y.max() <= 1


@pytest.mark.parametrize("name", PROBLEMS)
def test_seed_and_noise_matter(name):
    def drawn(**arguments):
        problem = make_problem(name, **arguments)
        return np.column_stack([problem.points_train, problem.y_train])

    np.testing.assert_array_equal(drawn(seed=3), drawn(seed=3))
    assert not np.array_equal(drawn(seed=3), drawn(seed=3, noise=0.2))
    assert not np.array_equal(drawn(seed=3), drawn(seed=4))


def test_parts_do_not_overlap():
    problem = make_problem("gaussians", train_share=0.9)
    rows = np.concatenate([problem.points_train, problem.points_test])
    assert len(np.unique(rows, axis=0)) == N_SAMPLES


def test_each_part_has_a_point():
    assert make_problem("xor", train_share=1e-9).y_train.size == 1
    assert make_problem("xor", train_share=1 - 1e-9).y_test.size == 1


def test_problems_are_what_they_are_called():
    def truth(name, predict):
        problem = make_problem(name, seed=1)
        x1, x2 = problem.points_train.T
        return np.mean(predict(x1, x2) == problem.y_train)

    assert truth("gaussians", lambda x1, x2: x1 + x2 > 0) > 0.98
    assert truth("circle", lambda x1, x2: x1**2 + x2**2 < 1.6**2) == 1
    assert truth("xor", lambda x1, x2: x1 * x2 > 0) == 1
    plane = make_problem("plane")
    np.testing.assert_allclose(plane.y_train, plane.points_train.sum(axis=1) / (2 * EXTENT))


def test_features_are_what_they_are_called():
    points = np.array([[0.5, -2.0], [-1.0, 3.0]])
    features = compute_features(points, FEATURES)
    x1, x2 = points.T
    expected = [x1, x2, x1**2, x2**2, x1 * x2, np.sin(x1), np.sin(x2)]
    np.testing.assert_array_equal(features.T, expected)
    assert features.flags.c_contiguous
    np.testing.assert_array_equal(compute_features(points, ["x2", "x1"]), points[:, ::-1])


def test_grid_is_a_picture():
    grid = make_grid(4).reshape(4, 4, 2)
    np.testing.assert_allclose(grid[0, 0], [-0.75 * EXTENT, 0.75 * EXTENT])  # top left
    np.testing.assert_allclose(grid[0, 3], [0.75 * EXTENT, 0.75 * EXTENT])  # top right
    np.testing.assert_allclose(grid[3, 0], [-0.75 * EXTENT, -0.75 * EXTENT])  # bottom left
