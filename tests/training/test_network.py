"""The layout of a network in one flat vector."""

import numpy as np
import pytest

from fastmlp.training.network import NetworkLayout
from tests import reference

FLOATS = [np.float32, np.float64]


def layout_of(units=(3, 4, 2, 5), activations=("relu", "tanh", "identity"), slopes=None):
    return NetworkLayout(units, activations, slopes or (None,) * len(activations), "squared_error")


def test_counts():
    layout = layout_of()
    assert layout.n_layers == 3
    assert layout.shapes == ((3, 4), (4, 2), (2, 5))
    assert layout.n_weights == 12 + 8 + 10
    assert layout.n_params == 30 + 11
    assert layout.learned_slopes == ()


def test_all_weights_come_first_then_all_biases_then_learned_slopes():
    layout = layout_of(activations=("prelu", "prelu", "identity"), slopes=(0.1, None, None))
    assert layout.n_params == 30 + 11 + 2
    params = np.arange(layout.n_params, dtype=float)
    coefs, intercepts = layout.unpack(params)
    packed = np.concatenate([array.ravel() for array in (*coefs, *intercepts)])
    np.testing.assert_array_equal(packed, params[:41])
    assert [array.shape for array in coefs] == [(3, 4), (4, 2), (2, 5)]
    assert [array.shape for array in intercepts] == [(4,), (2,), (5,)]
    np.testing.assert_array_equal(layout.slope_values(params), [41, 42, np.nan])


@pytest.mark.parametrize("dtype", FLOATS)
def test_coefs_and_intercepts_are_views(dtype):
    layout = layout_of()
    params = np.zeros(layout.n_params, dtype)
    for array in [view for views in layout.unpack(params) for view in views]:
        assert array.dtype == dtype
        assert array.flags.c_contiguous
        assert array.base is params
        assert np.shares_memory(array, params)
        array[...] = 1
    np.testing.assert_array_equal(params, 1)


@pytest.mark.parametrize("units", [(3, 2), (1, 1), (5, 1, 1)])
def test_few_layers_and_units(units):
    layout = layout_of(units, ("relu",) * (len(units) - 1))
    coefs, intercepts = layout.unpack(np.zeros(layout.n_params))
    assert sum(array.size for array in (*coefs, *intercepts)) == layout.n_params


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["relu", "logistic", "tanh"])
def test_initial_parameters_are_the_twins(name, dtype):
    units = (3, 4, 2, 5)
    layout = NetworkLayout(units, (name, name, "identity"), (None,) * 3, "squared_error", name)
    params = layout.initial_params(np.random.RandomState(0), dtype)
    twin = reference.initialise(
        units, [name, name], "identity", np.random.RandomState(0), dtype=dtype
    )
    assert params.dtype == dtype
    for views, arrays in zip(layout.unpack(params), (twin.weights, twin.biases), strict=True):
        for view, array in zip(views, arrays, strict=True):
            np.testing.assert_array_equal(view, array)


def test_initial_slopes():
    layout = layout_of(
        (3, 4, 4, 2, 5), ("prelu", "leaky_relu", "prelu", "identity"), (0.1, 0.2, None, None)
    )
    params = layout.initial_params(np.random.RandomState(0), np.float64)
    np.testing.assert_array_equal(params[-2:], [0.1, 0.25])
    np.testing.assert_array_equal(layout.slope_values(params), [0.1, 0.2, 0.25, np.nan])


def test_slope_of_the_output():
    layout = layout_of(activations=("tanh", "prelu", "prelu"), slopes=(None, 0.1, 0.4))
    params = layout.initial_params(np.random.RandomState(0), np.float64)
    assert layout.learned_slopes == (1, 2)
    np.testing.assert_array_equal(params[-2:], [0.1, 0.4])
    np.testing.assert_array_equal(layout.slope_values(params), [np.nan, 0.1, 0.4])


def test_slope_is_nan_where_there_is_none():
    layout = layout_of(activations=("tanh", "elu", "identity"))
    values = layout.slope_values(np.zeros(layout.n_params))
    assert np.isnan(values[0])
    assert values[1] == 1


def test_kernels_get_the_same_types_for_every_network():
    layouts = [
        layout_of(),
        layout_of((3, 2), ("identity",)),
        layout_of((3, 4, 5), ("prelu", "softmax")),
    ]
    for dtype in FLOATS:
        kinds = set()
        for layout in layouts:
            fields = layout.for_kernels(np.dtype(dtype))
            kinds.add(
                tuple(
                    (field.dtype, field.ndim, field.flags.c_contiguous)
                    if isinstance(field, np.ndarray)
                    else type(field)
                    for field in fields
                )
            )
        assert len(kinds) == 1


def test_squared_error_is_averaged_over_outputs():
    assert layout_of().n_averaged == 5
    names = {"softmax_cross_entropy": "softmax", "logistic_cross_entropy": "logistic"}
    for loss, output in names.items():
        assert NetworkLayout((3, 5), (output,), (None,), loss).n_averaged == 1


def test_pack_is_the_inverse_of_unpack():
    layout = layout_of(activations=("prelu", "tanh", "prelu"))
    params = np.random.RandomState(0).normal(size=layout.n_params)
    slopes = layout.unpack_slopes(params)
    assert slopes.size == 2
    assert np.shares_memory(slopes, params)
    packed = layout.pack(*layout.unpack(params), slopes, np.float64)
    np.testing.assert_array_equal(packed, params)
    assert not np.shares_memory(packed, params)
    assert layout.pack(*layout.unpack(params), slopes, np.float32).dtype == np.float32


@pytest.mark.parametrize(("first", "last"), [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)])
def test_part_is_the_network_of_some_layers(first, last):
    layout = layout_of(activations=("prelu", "elu", "prelu"), slopes=(0.1, 0.2, 0.3))
    params = np.arange(layout.n_params, dtype=float)
    part, part_params = layout.part(first, last, params)
    assert part.units == layout.units[first : last + 1]
    assert part.activations == layout.activations[first:last]
    assert part.slopes == layout.slopes[first:last]
    for ours, theirs in zip(part.unpack(part_params), layout.unpack(params), strict=True):
        for view, array in zip(ours, theirs[first:last], strict=True):
            np.testing.assert_array_equal(view, array)
    np.testing.assert_array_equal(
        part.slope_values(part_params), layout.slope_values(params)[first:last]
    )
    assert not np.shares_memory(part_params, params)
