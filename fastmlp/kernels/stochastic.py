r"""Stochastic descent, one sample per step: passes over the weights instead of matrix products.

For plain SGD the update of a layer is an outer product of two vectors, and a matrix-vector
product reads each weight once: memory traffic is all the cost. Hence

- the first layer's update of sample t and its forward pass of sample t + 1 are one pass;
- in the other layers, propagating delta and updating are one pass;
- rows whose input is zero in both samples are not touched;
- the L2 shrinkage is lazy: the weights are :math:`W = c V` with one scalar c, so that a step
  multiplies c instead of every weight.

All of it is exact: the steps are those of `run_batches`, to rounding.
"""

from __future__ import annotations

from fastmlp._jit import entry_point, kernel
from fastmlp.kernels.backprop import activate_layer, derive_layer, load_rows, output_delta
from fastmlp.kernels.structures import BIASES, IS_SPARSE, UNITS, WEIGHTS, rows_of
from fastmlp.kernels.views import view

__all__ = ["run_samples"]

# The scalar c is multiplied into V before V leaves the range where it is exact.
_SMALLEST_SCALE = 1e-3


@entry_point
def run_samples(
    network, data, order, first, last, rates, step, params, workspace, rows, steps, values, linear,
    losses,
):  # fmt: skip
    """Train on the samples ``order[first:last]``, one per step, by plain SGD.

    Parameters
    ----------
    network : Network
        The network, without learned slopes.
    data : Data
        All samples.
    order : ndarray of int64, shape (n_samples,)
        Order of the samples in this epoch.
    first, last : int
        Which of them.
    rates : ndarray of float64, shape (last - first,)
        Learning rate of each step.
    step : Step
        Plain SGD, with rate * alpha at most half of every weight that is not zero.
    params : ndarray of shape (n_params,)
        **Overwritten.**
    workspace : Workspace
        Of any capacity; row 0 is **overwritten**.
    rows, steps, values : ndarray of shape (2 * the most inputs of any layer,)
        Room for which rows of W to touch (int64), what to add to them, what to read.
        **Overwritten.**
    linear : ndarray of shape (units of the first layer,)
        Room. **Overwritten.**
    losses : ndarray of float64, shape (2, 8)
        The sums of the loss terms and of the penalties are **added** at [0, 0] and [1, 0].
    """
    layers, capacity, number = network.layers, workspace.capacity, params.dtype.type
    n_features, width = layers[0, UNITS], layers[1, UNITS]
    weights = view(params, 0, network.n_weights)
    first_weights = view(params, 0, n_features * width)
    biases = view(params, layers[0, BIASES], width)
    z = rows_of(workspace.values, layers, capacity, 1, 0, 1)
    delta = rows_of(workspace.deltas, layers, capacity, 1, 0, 1)
    terms = view(workspace.terms, 0, network.n_terms)
    gradient = workspace.gradients[0]
    for j in range(width):
        delta[j] = number(0)
    sample, rate, scale = -1, 0.0, 1.0
    squares = _sum_of_squares(weights)
    for t in range(first, last):
        weight = float(data.sample_weight[order[t]]) if data.sample_weight.size else 1.0
        if weight == 0:
            continue
        # The update that the previous sample left for the first layer, and this sample's forward.
        count = _first_layer(
            data, sample, number(-rate / scale), order[t], first_weights, delta, linear,
            rows, steps, values,
        )  # fmt: skip
        sample, rate = order[t], rates[t - first]
        length = _dot(view(values, 0, count), view(values, 0, count))
        _scale_and_shift(linear, number(scale), biases, z)
        load_rows(network, data, view(order, t, 1), False, 0, workspace)
        workspace.weights[0] = number(1)
        _forward_rest(network, params, number(scale), rows, values, workspace)
        output_delta(network, params, 0, 1, data.n_targets, number(1), workspace, gradient)
        losses[0, 0] += _sum(terms)
        l2 = step.alpha / weight
        losses[1, 0] += 0.5 * l2 * squares
        shrinkage = 1.0 - rate * l2
        if scale * shrinkage < _SMALLEST_SCALE:
            _multiply(weights, number(scale))
            scale = 1.0
        along, size = _backward_rest(
            network, params, number(scale), number(rate / (scale * shrinkage)), number(rate),
            workspace, gradient,
        )  # fmt: skip
        scale *= shrinkage
        # |q W - r a d'|^2 = q^2 |W|^2 - 2 q r a'W d + r^2 |a|^2 |d|^2, summed over the layers.
        along += _dot(linear, delta)
        size += length * _dot(delta, delta)
        squares = shrinkage * (shrinkage * squares - 2.0 * rate * along) + rate * rate * size
        _subtract(biases, number(rate), delta)
    _first_layer(
        data, sample, number(-rate / scale), -1, first_weights, delta, linear, rows, steps, values
    )
    _multiply(weights, number(scale))


@kernel
def _sum_of_squares(x):
    # In float64: this start of a recurrence is corrected by every step of the call.
    total = 0.0
    for i in range(x.size):
        total += float(x[i]) * float(x[i])
    return total


@kernel
def _dot(x, y):
    total = x.dtype.type(0)
    for i in range(x.size):
        total += x[i] * y[i]
    return float(total)


@kernel
def _sum(x):
    total = x.dtype.type(0)
    for i in range(x.size):
        total += x[i]
    return float(total)


@kernel
def _scale_and_shift(x, scale, shift, out):
    """Overwrite x by ``scale * x`` and `out` by ``scale * x + shift``."""
    for j in range(x.size):
        x[j] *= scale
        out[j] = x[j] + shift[j]


@kernel
def _subtract(x, factor, y):
    for j in range(x.size):
        x[j] -= factor * y[j]


@kernel
def _multiply(x, factor):
    if factor != 1:
        for i in range(x.size):
            x[i] *= factor


@kernel
def _first_layer(data, old, factor, new, weights, delta, z, rows, steps, values):
    """Add ``factor * x_old delta'`` to the first layer's weights, then compute ``z = x_new V``.

    A sample of -1 is none. `rows`, `steps` and `values` are overwritten; ``values[:count]`` then
    holds the new sample, but for zeros. Returns count.
    """
    n_features, none = weights.size // z.size, -1
    if data.indptr.size and old >= 0 and new >= 0:
        # Each sample lists its own rows, which may be the same ones: one after the other.
        count = _touched_rows(data, n_features, old, factor, none, rows, steps, values)
        _update_and_forward(count, rows, steps, values, weights, delta, z)
        old = none
    count = _touched_rows(data, n_features, old, factor, new, rows, steps, values)
    _update_and_forward(count, rows, steps, values, weights, delta, z)
    return count


@kernel
def _touched_rows(data, n_features, old, factor, new, rows, steps, values):
    """List the rows of the first layer that a step and the next forward pass touch.

    Row ``rows[k]`` is to get ``steps[k] * delta``, ``factor`` times the old sample's input, and
    then counts ``values[k]`` times in the forward pass of the new sample. A sample of -1 is none.
    Returns how many rows there are.
    """
    count, zero = 0, values.dtype.type(0)
    if data.indptr.size:
        for sample, is_old in ((old, True), (new, False)):
            if sample >= 0:
                for position in range(data.indptr[sample], data.indptr[sample + 1]):
                    x = data.X[position]
                    rows[count] = data.indices[position]
                    steps[count] = factor * x if is_old else zero
                    values[count] = zero if is_old else x
                    count += 1
        return count
    # A sample that is none reads another, which its factor turns into zeros.
    some = max(old, new)
    before = view(data.X, (old if old >= 0 else some) * n_features, n_features)
    after = view(data.X, (new if new >= 0 else some) * n_features, n_features)
    old_factor = factor if old >= 0 else zero
    new_factor = values.dtype.type(1) if new >= 0 else zero
    for i in range(n_features):
        rows[count] = i
        step, value = old_factor * before[i], new_factor * after[i]
        steps[count], values[count] = step, value
        # No branch: whether a pixel is zero cannot be predicted.
        count += (step != zero) | (value != zero)
    return count


@kernel
def _update_and_forward(count, rows, steps, values, weights, delta, z):
    """Add ``steps[k] * delta`` to row ``rows[k]`` of the weights, and sum rows times `values`.

    No row occurs twice.
    """
    width, zero = z.size, z.dtype.type(0)
    for j in range(width):
        z[j] = zero
    n_fours = count // 4 * 4
    for k in range(0, n_fours, 4):
        s0, s1, s2, s3 = steps[k], steps[k + 1], steps[k + 2], steps[k + 3]
        v0, v1, v2, v3 = values[k], values[k + 1], values[k + 2], values[k + 3]
        w0 = view(weights, rows[k] * width, width)
        w1 = view(weights, rows[k + 1] * width, width)
        w2 = view(weights, rows[k + 2] * width, width)
        w3 = view(weights, rows[k + 3] * width, width)
        for j in range(width):
            d = delta[j]
            x0, x1, x2, x3 = w0[j] + s0 * d, w1[j] + s1 * d, w2[j] + s2 * d, w3[j] + s3 * d
            w0[j], w1[j], w2[j], w3[j] = x0, x1, x2, x3
            z[j] += (v0 * x0 + v1 * x1) + (v2 * x2 + v3 * x3)
    for k in range(n_fours, count):
        row = view(weights, rows[k] * width, width)
        step, value = steps[k], values[k]
        for j in range(width):
            x = row[j] + step * delta[j]
            row[j] = x
            z[j] += value * x


@kernel
def _forward_rest(network, params, scale, rows, values, workspace):
    """Run row 0 of the workspace from the first pre-activation to the output's."""
    layers, capacity = network.layers, workspace.capacity
    for layer in range(1, layers.shape[0] - 1):
        a = rows_of(workspace.values, layers, capacity, layer, 0, 1)
        activate_layer(network, params, layer - 1, 0, 1, capacity, workspace.inputs, a)
        z = rows_of(workspace.values, layers, capacity, layer + 1, 0, 1)
        weights = view(params, layers[layer, WEIGHTS], a.size * z.size)
        biases = view(params, layers[layer, BIASES], z.size)
        _forward_layer(a, weights, biases, scale, rows, values, z)


@kernel
def _forward_layer(a, weights, biases, scale, rows, values, z):
    """Compute ``z = scale * a V + b`` from the rows where `a` is not zero."""
    width, count = z.size, 0
    if width == 1:
        total = z.dtype.type(0)
        for i in range(a.size):
            total += a[i] * weights[i]
        z[0] = scale * total + biases[0]
        return
    for i in range(a.size):
        rows[count] = i * width
        values[count] = scale * a[i]
        count += a[i] != 0
    for j in range(width):
        z[j] = biases[j]
    n_fours = count // 4 * 4
    for k in range(0, n_fours, 4):
        v0, v1, v2, v3 = values[k], values[k + 1], values[k + 2], values[k + 3]
        w0, w1 = view(weights, rows[k], width), view(weights, rows[k + 1], width)
        w2, w3 = view(weights, rows[k + 2], width), view(weights, rows[k + 3], width)
        for j in range(width):
            z[j] += (v0 * w0[j] + v1 * w1[j]) + (v2 * w2[j] + v3 * w3[j])
    for k in range(n_fours, count):
        row, value = view(weights, rows[k], width), values[k]
        for j in range(width):
            z[j] += value * row[j]


@kernel
def _backward_rest(network, params, scale, lazy_rate, rate, workspace, gradient):
    """Propagate the output's delta to the first hidden layer, updating the layers it passes.

    Returns the sums over these layers of a'W d and of |a|^2 |d|^2.
    """
    layers, capacity, along, size = network.layers, workspace.capacity, 0.0, 0.0
    for layer in range(layers.shape[0] - 2, 0, -1):
        a = rows_of(workspace.values, layers, capacity, layer, 0, 1)
        delta = rows_of(workspace.deltas, layers, capacity, layer + 1, 0, 1)
        delta_in = rows_of(workspace.deltas, layers, capacity, layer, 0, 1)
        weights = view(params, layers[layer, WEIGHTS], a.size * delta.size)
        skips_zeros = layers[layer - 1, IS_SPARSE] != 0
        _backward_layer(skips_zeros, a, delta, scale, lazy_rate, weights, delta_in)
        along += _dot(a, delta_in)
        size += _dot(a, a) * _dot(delta, delta)
        _subtract(view(params, layers[layer, BIASES], delta.size), rate, delta)
        derive_layer(network, params, layer - 1, 0, 1, rate, workspace, a, delta_in, gradient)
    return along, size


@kernel
def _backward_layer(skips_zeros, a, delta, scale, rate, weights, delta_in):
    """Compute ``delta_in = scale * V delta`` and update ``V -= rate * a delta'`` in one pass.

    Where `skips_zeros`, a zero input has a zero derivative too, and its row is not touched.
    """
    width, zero = delta.size, delta.dtype.type(0)
    if width == 1:
        d, step = scale * delta[0], rate * delta[0]
        for i in range(a.size):
            w = weights[i]
            delta_in[i] = d * w
            weights[i] = w - step * a[i]
        return
    for i in range(a.size):
        delta_in[i] = zero
        if a[i] == zero and skips_zeros:
            continue
        row, step, total = view(weights, i * width, width), rate * a[i], zero
        for j in range(width):
            w = row[j]
            total += w * delta[j]
            row[j] = w - step * delta[j]
        delta_in[i] = scale * total
