r"""Stochastic descent, one sample per step, without one pass over the weights per step.

For plain SGD the update of a layer is an outer product of two vectors, and a matrix-vector product
reads each weight once: done as written, memory traffic is all the cost. Hence

- the first layer is updated once per *block* of samples. Within a block, the pre-activations of
  sample t are those by the weights at its start, less what the steps since then changed,

  .. math:: z_t = x_t W_0 - \sum_{s<t} \eta_s (x_t \cdot x_s)\, \delta_s ,

  so that both the forward pass and the update of a whole block are matrix products;
- where inputs are sparse, its update by sample t and its forward pass of sample t + 1 are one pass
  over the rows they touch;
- in the other layers, propagating delta and updating are one pass over weights whose longer side is
  contiguous;
- the L2 shrinkage is lazy: the weights are :math:`W = c V` with one scalar c, so that a step
  multiplies c instead of every weight.

All of it is exact: the steps are those of `run_batches_together`, to rounding.
"""

from __future__ import annotations

import numpy as np

from fastmlp._jit import inlined_kernel, kernel, view_kernel
from fastmlp._linking import Interface
from fastmlp.kernels.backward import derive_layer, output_delta
from fastmlp.kernels.blas import gemm
from fastmlp.kernels.dense import matrix_product
from fastmlp.kernels.forward import activate_layer
from fastmlp.kernels.gather import gather_rows
from fastmlp.kernels.structures import (
    BIASES,
    IS_SPARSE,
    UNITS,
    WEIGHTS,
    Data,
    Network,
    Scratch,
    Step,
    Team,
    Workspace,
    rows_of,
)
from fastmlp.kernels.team import share, wait_for_all
from fastmlp.kernels.views import view

__all__ = ["BLOCK", "run_samples"]

# Samples per block: its products grow with its square, what it saves does not.
BLOCK = 32
# The scalar c is multiplied into V before V leaves the range where it is exact.
_SMALLEST_SCALE = 1e-3
# Units of the first layer are shared between threads in multiples of a vector register.
_GRAIN = 16
# Layers of fewer outputs are kept transposed: loops over so few are dear.
_FEW_OUTPUTS = 16


_BY_SAMPLES = Interface(
    Network, Data, "int32s", "int", "int", "doubles", Step, "reals", Scratch, Workspace, Team,
    "int", "table",
)  # fmt: skip


@_BY_SAMPLES.entry_point
def run_samples(
    network, data, order, first, last, rates, step, params, scratch, workspace, team, thread, losses
):
    """Train on the samples ``order[first:last]``, one per step, by plain SGD.

    Parameters
    ----------
    network : Network
        The network, without learned slopes.
    data : Data
        All samples.
    order : ndarray of int32, shape (n_samples,)
        Order of the samples in this epoch.
    first, last : int
        Which of them.
    rates : ndarray of float64, shape (last - first,) or (1,)
        Learning rate of each step, or of all.
    step : Step
        Plain SGD, with rate * alpha at most half of every weight that is not zero.
    params : ndarray of shape (n_params,)
        **Overwritten.**
    workspace : Workspace
        Of any capacity; row 0 and the room are **overwritten**.
    scratch : Scratch
        **Overwritten.**
    team : Team
        The threads, each of which calls this with the same arguments but for `thread`. They share
        the products of dense inputs.
    thread : int
        Which thread this is, from 0.
    losses : ndarray of float64, shape (2, 8)
        The sums of the loss terms and of the penalties are **added** at [0, 0] and [1, 0].
    """
    layers, number = network.layers, params.dtype.type
    width = layers[1, UNITS]
    is_dense = not data.indptr.size
    turned = scratch.turned
    scale, squares, begin = 1.0, 0.0, first
    if thread == 0:
        squares = _sum_of_squares(view(params, 0, network.n_weights))
        _turn(layers, params, turned, np.bool_(False))
    is_last = thread == team.size - 1
    if is_dense:
        for part in range(thread, team.n_parts, team.size):
            _move_columns(layers, params, scratch, team.n_parts, part, np.bool_(False))
    if is_dense and is_last:
        _load_block(network, data, order, begin, last, np.int64(0), scratch)
    # Nobody writes what others still read, nor reads what they have yet to write.
    if not wait_for_all(team.size, team.barrier):
        return
    half, n_before = 0, 0
    while begin < last:
        stop = min(begin + BLOCK, last)
        if is_dense:
            # By columns of the weights, which each thread both updates and uses.
            for part in range(thread, team.n_parts, team.size):
                _update_and_forward_block(
                    network, n_before, stop - begin, half, scratch, workspace, team.n_parts, part
                )
            if not wait_for_all(team.size, team.barrier):
                return
        if thread == 0:
            for t in range(begin, stop):
                weight = float(data.sample_weight[order[t]]) if data.sample_weight.size else 1.0
                k = t - begin
                if weight == 0:
                    _fill(view(scratch.errors, k * width, width), number(0))
                    continue
                if is_dense:
                    length = _forward_in_block(k, half, number(scale), scratch, team.n_parts)
                else:
                    length = _sparse_forward(data, order[t], params, number(scale), scratch)
                scale, squares = _step(
                    network, data, order, t, rates[min(t - first, rates.size - 1)], step.alpha,
                    weight, scale, squares, length, k, params, workspace, scratch, losses,
                )  # fmt: skip
                if not is_dense:
                    _sparse_update(data, order[t], k, params, scratch)
            if scale < _SMALLEST_SCALE:
                _multiply(view(params, 0, network.n_weights), number(scale))
                _multiply(turned, number(scale))
                _multiply(scratch.columns, number(scale))
                _multiply(scratch.errors, number(scale))
                scale = 1.0
        # Meanwhile, where there is somebody else.
        if is_dense and is_last:
            _load_block(network, data, order, stop, last, 1 - half, scratch)
        if not wait_for_all(team.size, team.barrier):
            return
        begin, half, n_before = stop, 1 - half, stop - begin
    if is_dense:
        for part in range(thread, team.n_parts, team.size):
            _update_block(network, n_before, 1 - half, scratch, workspace, team.n_parts, part)
            _move_columns(layers, params, scratch, team.n_parts, part, np.bool_(True))
        if not wait_for_all(team.size, team.barrier):
            return
    if thread == 0:
        _turn(layers, params, turned, np.bool_(True))
        _multiply(view(params, 0, network.n_weights), number(scale))


@inlined_kernel
def _step(
    network, data, order, t, rate, alpha, weight, scale, squares, length, k, params, workspace,
    scratch, losses,
):  # fmt: skip
    """Take one step, but for the first layer's weights, from its pre-activations without bias.

    They are in ``scratch.linear``. What the step will subtract from the first layer's V, but for
    the input, is left in row k of ``scratch.errors``. Returns the scalar c and |W|^2 after the
    step.
    """
    layers, capacity, number = network.layers, workspace.capacity, params.dtype.type
    width = layers[1, UNITS]
    biases = view(params, layers[0, BIASES], width)
    z = rows_of(workspace.values, layers, capacity, np.int64(1), np.int64(0), np.int64(1))
    delta = rows_of(workspace.deltas, layers, capacity, np.int64(1), np.int64(0), np.int64(1))
    for j in range(width):
        z[j] = scratch.linear[j] + biases[j]
    targets = view(data.targets, order[t] * data.n_targets, data.n_targets)
    for j in range(targets.size):
        workspace.targets[j] = targets[j]
    workspace.weights[0] = number(1)
    _forward_rest(network, params, number(scale), scratch, workspace)
    output_delta(
        network, params, np.int64(0), np.int64(1), data.n_targets, number(1), workspace,
        workspace.gradients,
    )  # fmt: skip
    for j in range(network.n_terms):
        losses[0, 0] += workspace.terms[j]
    l2 = alpha / weight
    losses[1, 0] += 0.5 * l2 * squares
    shrinkage = 1.0 - rate * l2
    along, size = _backward_rest(
        network, params, number(scale), number(rate / (scale * shrinkage)), number(rate), scratch,
        workspace,
    )  # fmt: skip
    scale *= shrinkage
    factor = number(rate / scale)
    error = view(scratch.errors, k * width, width)
    product, norm = number(0), number(0)
    for j in range(width):
        d = delta[j]
        product += scratch.linear[j] * d
        norm += d * d
        error[j] = factor * d
        biases[j] -= number(rate) * d
    # |q W - r a d'|^2 = q^2 |W|^2 - 2 q r a'W d + r^2 |a|^2 |d|^2, summed over the layers.
    along += float(product)
    size += float(length) * float(norm)
    squares = shrinkage * (shrinkage * squares - 2.0 * rate * along) + rate * rate * size
    return scale, squares


@kernel
def _sum_of_squares(x):
    # In float64: this start of a recurrence is corrected by every step of the call.
    total = 0.0
    for i in range(x.size):
        total += float(x[i]) * float(x[i])
    return total


@kernel
def _fill(x, value):
    for i in range(x.size):
        x[i] = value


@kernel
def _multiply(x, factor):
    if factor != 1:
        for i in range(x.size):
            x[i] *= factor


@kernel
def _load_block(network, data, order, begin, last, half, scratch):
    """Gather the inputs of a block of dense samples, and multiply each by each."""
    n_features, dtype = network.layers[0, UNITS], scratch.inputs.dtype
    n_rows = min(BLOCK, last - begin)
    inputs = _block_inputs(scratch, half, n_features)
    if n_rows > 0:
        rows = view(inputs, 0, n_rows * n_features)
        gather_rows(data.X, n_features, view(order, begin, n_rows), np.int64(0), n_features, rows)
        one, zero = dtype.type(1), dtype.type(0)
        products = _block_products(scratch, half)
        gemm(
            False, True, n_rows, n_rows, n_features,
            one, inputs, n_features, inputs, n_features, zero, products, BLOCK,
        )  # fmt: skip


@view_kernel
def _block_inputs(scratch, half, n_features):
    """Return the inputs of one of two blocks."""
    size = BLOCK * n_features
    return view(scratch.inputs, half * size, size)


@view_kernel
def _block_products(scratch, half):
    """Return the inner products of one of two blocks, which may be in the same place."""
    size = BLOCK * BLOCK
    return view(scratch.products, min(half * size, scratch.products.size - size), size)


@inlined_kernel
def _columns(width, n_parts, part):
    """Return the units of the first layer that are in a part: the first, and how many."""
    start, stop = share(width, _GRAIN, part, n_parts)
    return start, stop - start


@kernel
def _move_columns(layers, params, scratch, n_parts, part, goes_back):
    """Copy a part's columns of the first layer's weights to a matrix of their own, or back.

    Side by side with others', they would share cache lines with them.
    """
    n_features, width = layers[0, UNITS], layers[1, UNITS]
    column, n_columns = _columns(width, n_parts, part)
    for i in range(n_features):
        there = view(params, i * width + column, n_columns)
        here = view(scratch.columns, n_features * column + i * n_columns, n_columns)
        for j in range(n_columns):
            if goes_back:
                there[j] = here[j]
            else:
                here[j] = there[j]


@kernel
def _update_block(network, n_rows, half, scratch, workspace, n_parts, part):
    """Subtract a whole block of steps from the first layer's weights: ``V -= X' E``."""
    n_features, width = network.layers[0, UNITS], network.layers[1, UNITS]
    column, n_columns = _columns(width, n_parts, part)
    one = scratch.columns.dtype.type(1)
    if n_columns > 0:
        matrix_product(
            network.product, np.bool_(True), np.bool_(False), n_features, n_columns, n_rows,
            -one, _block_inputs(scratch, half, n_features), n_features,
            view(scratch.errors, column, BLOCK * width - column), width,
            one, view(scratch.errors, 0, 0),
            view(scratch.columns, n_features * column, n_features * n_columns), n_columns,
            workspace.room,
        )  # fmt: skip


@kernel
def _update_and_forward_block(network, n_before, n_rows, half, scratch, workspace, n_parts, part):
    """Apply the steps of the block before, if any, and compute ``X V`` of this one."""
    if n_before > 0:
        _update_block(network, n_before, 1 - half, scratch, workspace, n_parts, part)
    n_features, width = network.layers[0, UNITS], network.layers[1, UNITS]
    column, n_columns = _columns(width, n_parts, part)
    one, zero = scratch.columns.dtype.type(1), scratch.columns.dtype.type(0)
    if n_columns > 0:
        matrix_product(
            network.product, np.bool_(False), np.bool_(False), n_rows, n_columns, n_features,
            one, _block_inputs(scratch, half, n_features), n_features,
            view(scratch.columns, n_features * column, n_features * n_columns), n_columns,
            zero, view(scratch.errors, 0, 0),
            view(scratch.starts, BLOCK * column, n_rows * n_columns), n_columns, workspace.room,
        )  # fmt: skip


@inlined_kernel
def _forward_in_block(k, half, scale, scratch, n_parts):
    """Overwrite ``scratch.linear`` by ``c x V`` of sample k of its block; return its |x|^2."""
    z = scratch.linear
    width = z.size
    products = view(_block_products(scratch, half), k * BLOCK, BLOCK)
    for part in range(n_parts):
        column, n_columns = _columns(width, n_parts, part)
        start = view(scratch.starts, BLOCK * column + k * n_columns, n_columns)
        some = view(z, column, n_columns)
        for j in range(n_columns):
            some[j] = start[j]
    n_fours = k // 4 * 4
    for s in range(0, n_fours, 4):
        p0, p1, p2, p3 = products[s], products[s + 1], products[s + 2], products[s + 3]
        e0, e1 = (
            view(scratch.errors, s * width, width),
            view(scratch.errors, (s + 1) * width, width),
        )
        e2 = view(scratch.errors, (s + 2) * width, width)
        e3 = view(scratch.errors, (s + 3) * width, width)
        for j in range(width):
            z[j] -= (p0 * e0[j] + p1 * e1[j]) + (p2 * e2[j] + p3 * e3[j])
    for s in range(n_fours, k):
        product, error = products[s], view(scratch.errors, s * width, width)
        for j in range(width):
            z[j] -= product * error[j]
    for j in range(width):
        z[j] *= scale
    return products[k]


@kernel
def _sparse_forward(data, sample, params, scale, scratch):
    """Overwrite ``scratch.linear`` by ``c x V`` of a sparse sample; return its |x|^2."""
    z, length = scratch.linear, scale * 0
    width = z.size
    for j in range(width):
        z[j] = 0
    for position in range(data.indptr[sample], data.indptr[sample + 1]):
        x = data.X[position]
        length += x * x
        row = view(params, int(data.indices[position]) * width, width)
        for j in range(width):
            z[j] += x * row[j]
    for j in range(width):
        z[j] *= scale
    return length


@kernel
def _sparse_update(data, sample, k, params, scratch):
    """Subtract the step of a sparse sample from the rows of V that it touches."""
    width = scratch.linear.size
    error = view(scratch.errors, k * width, width)
    for position in range(data.indptr[sample], data.indptr[sample + 1]):
        x = data.X[position]
        row = view(params, int(data.indices[position]) * width, width)
        for j in range(width):
            row[j] -= x * error[j]


@inlined_kernel
def _is_turned(fan_in, fan_out):
    return fan_out < _FEW_OUTPUTS and fan_out < fan_in


@view_kernel
def _turned_weights(layers, layer, turned):
    """Return where the transposed weights of a layer, but the first, are."""
    size = layers[layer, UNITS] * layers[layer + 1, UNITS]
    return view(turned, layers[layer, WEIGHTS] - layers[1, WEIGHTS], size)


@kernel
def _turn(layers, params, turned, goes_back):
    """Transpose the weights of the layers of few outputs, or transpose them back."""
    for layer in range(1, layers.shape[0] - 1):
        fan_in, fan_out = layers[layer, UNITS], layers[layer + 1, UNITS]
        if _is_turned(fan_in, fan_out):
            weights = view(params, layers[layer, WEIGHTS], fan_in * fan_out)
            other = _turned_weights(layers, layer, turned)
            for i in range(fan_in):
                for j in range(fan_out):
                    if goes_back:
                        weights[i * fan_out + j] = other[j * fan_in + i]
                    else:
                        other[j * fan_in + i] = weights[i * fan_out + j]


@inlined_kernel
def _forward_rest(network, params, scale, scratch, workspace):
    """Run row 0 of the workspace from the first pre-activation to the output's."""
    layers, capacity = network.layers, workspace.capacity
    row, one_row = np.int64(0), np.int64(1)
    for layer in range(1, layers.shape[0] - 1):
        a = rows_of(workspace.values, layers, capacity, layer, row, one_row)
        activate_layer(network, params, layer - 1, np.int64(0), a.size, workspace)
        z = rows_of(workspace.values, layers, capacity, layer + 1, row, one_row)
        biases = view(params, layers[layer, BIASES], z.size)
        if _is_turned(a.size, z.size):
            weights = _turned_weights(layers, layer, scratch.turned)
            _forward_turned(a, weights, biases, scale, z)
        else:
            weights = view(params, layers[layer, WEIGHTS], a.size * z.size)
            _forward_layer(a, weights, biases, scale, scratch.rows, scratch.values, z)


@kernel
def _forward_turned(a, weights, biases, scale, z):
    """Compute ``z = scale * a V + b`` from V transposed."""
    size, zero = a.size, a.dtype.type(0)
    n_fours = z.size // 4 * 4
    for j in range(0, n_fours, 4):
        w0, w1 = view(weights, j * size, size), view(weights, (j + 1) * size, size)
        w2, w3 = view(weights, (j + 2) * size, size), view(weights, (j + 3) * size, size)
        t0, t1, t2, t3 = zero, zero, zero, zero
        for i in range(size):
            t0 += a[i] * w0[i]
            t1 += a[i] * w1[i]
            t2 += a[i] * w2[i]
            t3 += a[i] * w3[i]
        z[j], z[j + 1] = scale * t0 + biases[j], scale * t1 + biases[j + 1]
        z[j + 2], z[j + 3] = scale * t2 + biases[j + 2], scale * t3 + biases[j + 3]
    for j in range(n_fours, z.size):
        row, total = view(weights, j * size, size), zero
        for i in range(size):
            total += a[i] * row[i]
        z[j] = scale * total + biases[j]


@kernel
def _forward_layer(a, weights, biases, scale, rows, values, z):
    """Compute ``z = scale * a V + b`` from the rows where `a` is not zero."""
    width, count = z.size, 0
    for i in range(a.size):
        rows[count] = i * width
        values[count] = scale * a[i]
        # No branch: which units are zero cannot be predicted.
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


@inlined_kernel
def _backward_rest(network, params, scale, lazy_rate, rate, scratch, workspace):
    """Propagate the output's delta to the first hidden layer, updating the layers it passes.

    Returns the sums over these layers of a'W d and of |a|^2 |d|^2.
    """
    layers, capacity, along, size = network.layers, workspace.capacity, 0.0, 0.0
    row, one_row = np.int64(0), np.int64(1)
    for layer in range(layers.shape[0] - 2, 0, -1):
        a = rows_of(workspace.values, layers, capacity, layer, row, one_row)
        delta = rows_of(workspace.deltas, layers, capacity, layer + 1, row, one_row)
        delta_in = rows_of(workspace.deltas, layers, capacity, layer, row, one_row)
        if _is_turned(a.size, delta.size):
            weights = _turned_weights(layers, layer, scratch.turned)
            _backward_turned(a, delta, scale, lazy_rate, weights, delta_in)
        else:
            weights = view(params, layers[layer, WEIGHTS], a.size * delta.size)
            skips_zeros = layers[layer - 1, IS_SPARSE] != 0
            _backward_layer(skips_zeros, a, delta, scale, lazy_rate, weights, delta_in)
        biases = view(params, layers[layer, BIASES], delta.size)
        inner, length, norm = rate * 0, rate * 0, rate * 0
        for i in range(a.size):
            inner += a[i] * delta_in[i]
            length += a[i] * a[i]
        for j in range(delta.size):
            norm += delta[j] * delta[j]
            biases[j] -= rate * delta[j]
        along += float(inner)
        size += float(length) * float(norm)
        derive_layer(
            network, params, layer - 1, np.int64(0), a.size, rate, workspace, workspace.gradients
        )
    return along, size


@kernel
def _backward_turned(a, delta, scale, rate, weights, delta_in):
    """Compute ``delta_in = scale * V delta`` and ``V -= rate * a delta'`` from V transposed."""
    size = a.size
    for i in range(size):
        delta_in[i] = 0
    for j in range(delta.size):
        row, back, step = view(weights, j * size, size), scale * delta[j], rate * delta[j]
        for i in range(size):
            w = row[i]
            delta_in[i] += back * w
            row[i] = w - step * a[i]


@kernel
def _backward_layer(skips_zeros, a, delta, scale, rate, weights, delta_in):
    """Compute ``delta_in = scale * V delta`` and update ``V -= rate * a delta'`` in one pass.

    Where `skips_zeros`, a zero input has a zero derivative too, and its row is not touched.
    """
    width, zero = delta.size, delta.dtype.type(0)
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
