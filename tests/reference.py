r"""A plain NumPy twin of everything fastmlp computes.

Nothing here is fast, and nothing here imports fastmlp: it is a second, independent telling of the
same mathematics. The tests hold the compiled kernels against it, and a student can read it from top
to bottom to see what a multi-layer perceptron does.

Shapes
------
A batch ``X`` is ``(n_samples, n_features)``. Layer ``l`` turns the activations ``a`` of the layer
below into

.. math:: z = a W_l + b_l, \qquad a' = \sigma_l(z)

with ``W_l`` of shape ``(fan_in, fan_out)`` and ``b_l`` of shape ``(fan_out,)``. ``delta`` always
means the derivative of the loss of each sample with respect to ``z``: it has the shape of ``z``,
and is *not* yet divided by the number of samples.

Every function returns fresh arrays of the dtype it was given, except the optimizers' ``step``,
which updates the parameters in place.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy.special import erfc, expit, xlogy

# --------------------------------------------------------------------------------------
# Activations: the value, and the derivative as a function of z
# --------------------------------------------------------------------------------------

SELU_SCALE = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717


def softplus(z):
    """log(1 + e^z), without overflow."""
    return np.logaddexp(np.zeros_like(z), z)


def normal_cdf(z):
    """Probability that a standard normal variable is below z."""
    return 0.5 * erfc(-z / float(np.sqrt(2.0)))


def normal_pdf(z):
    """Density of the standard normal distribution."""
    return np.exp(-0.5 * z**2) / float(np.sqrt(2.0 * np.pi))


def leaky(z, slope):
    """The identity above zero, a line of the given slope below."""
    return np.where(z > 0, z, slope * z)


def leaky_derivative(z, slope):
    """1 above zero, the slope elsewhere: also at zero, where the curve has a corner."""
    return np.where(z > 0, np.ones_like(z), slope * np.ones_like(z))


def elu(z, alpha):
    """The identity above zero, alpha (e^z - 1) below."""
    return np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))


def elu_derivative(z, alpha):
    """1 above zero; below, alpha e^z, which is the value plus alpha."""
    return np.where(z > 0, np.ones_like(z), alpha * np.exp(np.minimum(z, 0)))


def silu_derivative(z):
    """By the product rule on z * logistic(z)."""
    return expit(z) * (1 + z * expit(-z))


def mish_derivative(z):
    """By the product and chain rules on z * tanh(softplus(z))."""
    gate = np.tanh(softplus(z))
    return gate + z * (1 - gate**2) * expit(z)


def softmax(z):
    """Each row exponentiated, then scaled to sum to 1. (Taking away its maximum is for safety.)"""
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Activation:
    """An elementwise activation.

    ``value`` and ``derivative`` take ``(z, slope)``; ``slope`` is the default one, or None where
    there is none to choose.
    """

    value: Callable
    derivative: Callable
    slope: float | None = None


ACTIVATIONS = {
    "identity": Activation(lambda z, _: z.copy(), lambda z, _: np.ones_like(z)),
    "binary_step": Activation(lambda z, _: (z >= 0).astype(z.dtype), lambda z, _: np.zeros_like(z)),
    "logistic": Activation(lambda z, _: expit(z), lambda z, _: expit(z) * expit(-z)),
    "tanh": Activation(lambda z, _: np.tanh(z), lambda z, _: 1 - np.tanh(z) ** 2),
    "arctan": Activation(lambda z, _: np.arctan(z), lambda z, _: 1 / (1 + z**2)),
    "relu": Activation(lambda z, _: np.maximum(z, 0), lambda z, _: (z > 0).astype(z.dtype)),
    "leaky_relu": Activation(leaky, leaky_derivative, slope=0.01),
    "prelu": Activation(leaky, leaky_derivative, slope=0.25),
    "elu": Activation(elu, elu_derivative, slope=1.0),
    "softplus": Activation(lambda z, _: softplus(z), lambda z, _: expit(z)),
    "gelu": Activation(
        lambda z, _: z * normal_cdf(z), lambda z, _: normal_cdf(z) + z * normal_pdf(z)
    ),
    "silu": Activation(lambda z, _: z * expit(z), lambda z, _: silu_derivative(z)),
    "selu": Activation(
        lambda z, _: SELU_SCALE * elu(z, SELU_ALPHA),
        lambda z, _: SELU_SCALE * elu_derivative(z, SELU_ALPHA),
    ),
    "mish": Activation(lambda z, _: z * np.tanh(softplus(z)), lambda z, _: mish_derivative(z)),
    "exp": Activation(lambda z, _: np.exp(z), lambda z, _: np.exp(z)),
}


def default_slope(name):
    """The slope an activation has when none is chosen; None where it has none."""
    return ACTIVATIONS[name].slope if name in ACTIVATIONS else None


def activate(name, z, slope=None):
    """The activation called ``name``, applied to ``z``."""
    if name == "softmax":
        return softmax(z)
    return ACTIVATIONS[name].value(z, default_slope(name) if slope is None else float(slope))


def derivative(name, z, slope=None):
    """The derivative of an elementwise activation at ``z``."""
    slope = default_slope(name) if slope is None else float(slope)
    return ACTIVATIONS[name].derivative(z, slope)


def activation_backward(name, z, upstream, slope=None):
    r"""Turn the derivative with respect to the activation into that with respect to ``z``.

    An elementwise activation multiplies by its derivative. A softmax output depends on all the
    ``z`` of its row: :math:`\partial p_i / \partial z_j = p_i (1_{i=j} - p_j)`.
    """
    if name == "softmax":
        p = softmax(z)
        return p * (upstream - (upstream * p).sum(axis=1, keepdims=True))
    return upstream * derivative(name, z, slope)


def slope_gradient(name, z, upstream):
    """The derivative with respect to the slope of a whole layer, where it is learned: prelu.

    One slope serves all units and all samples, so all that lie below zero pull on it.
    """
    return (upstream * np.minimum(z, 0)).sum() if name == "prelu" else 0.0


# --------------------------------------------------------------------------------------
# Losses: value and delta from the logits
# --------------------------------------------------------------------------------------

# Where the output activation is the natural partner of the loss, the derivative of the one cancels
# against that of the other, and delta is simply "output minus target".
CANONICAL_PAIRS = {
    ("squared_error", "identity"),
    ("log_loss", "logistic"),
    ("log_loss", "softmax"),
    ("poisson", "exp"),
}


# What a loss reads besides outputs and targets, where nothing else is said.
LOSS_PARAMETERS = {"huber": 1.0, "quantile": 0.5, "focal": 2.0, "log_loss": 0.0}


def sample_losses(loss, out_activation, y, out, parameter=None):
    """The loss of each sample: shape ``(n_samples,)``.

    As in scikit-learn, the squared error is halved and averaged over the outputs, the other losses
    are summed over them, and probabilities are kept ``eps`` away from 0 and 1. ``parameter`` is the
    loss's own: Huber's delta, the quantile (a number, or one per output), the focal loss's gamma,
    the smoothing of labels.
    """
    parameter = LOSS_PARAMETERS.get(loss) if parameter is None else parameter
    if loss == "squared_error":
        return 0.5 * ((out - y) ** 2).mean(axis=1)
    if loss == "absolute_error":
        return np.abs(out - y).sum(axis=1)
    if loss == "huber":
        error = np.abs(out - y)
        beyond = parameter * (error - parameter / 2)
        return np.where(error <= parameter, error**2 / 2, beyond).sum(axis=1)
    if loss == "quantile":
        return np.maximum(parameter * (y - out), (parameter - 1) * (y - out)).sum(axis=1)
    if loss == "poisson":
        return (xlogy(y, y / out) - y + out).sum(axis=1)
    if loss == "gamma":
        return (y / out - 1 - np.log(y / out)).sum(axis=1)
    eps = np.finfo(out.dtype).eps
    p = np.clip(out, eps, 1 - eps)
    if loss == "focal":
        wrong = (y * (1 - p) ** parameter, (1 - y) * p**parameter)
        losses = -wrong[0] * np.log(p)
        if out_activation == "logistic":
            losses = losses - wrong[1] * np.log(1 - p)
        return losses.sum(axis=1)
    y = smoothed(y, out_activation, parameter)
    if out_activation == "softmax":
        return -xlogy(y, p).sum(axis=1)
    return -(xlogy(y, p) + xlogy(1 - y, 1 - p)).sum(axis=1)


def smoothed(y, out_activation, amount):
    """Targets moved towards equal probabilities of all classes, or of both."""
    return (1 - amount) * y + amount / (y.shape[1] if out_activation == "softmax" else 2)


def output_gradient(loss, y, out, parameter=None, out_activation=None):
    """The derivative of a sample's loss with respect to the outputs.

    scikit-learn does not divide the gradient of the squared error by the number of outputs,
    although it averages the loss over them; neither do we.
    """
    parameter = LOSS_PARAMETERS.get(loss) if parameter is None else parameter
    if loss == "squared_error":
        return out - y
    if loss == "absolute_error":
        return np.sign(out - y)
    if loss == "huber":
        return np.clip(out - y, -parameter, parameter)
    if loss == "quantile":
        return np.where(out > y, 1 - parameter, np.where(out < y, -parameter, 0.0))
    if loss == "poisson":
        return 1 - y / out
    if loss == "gamma":
        return (1 - y / out) / out
    if loss == "focal":
        eps = np.finfo(out.dtype).eps
        p = np.clip(out, eps, 1 - eps)

        def slope(p):
            return parameter * (1 - p) ** (parameter - 1) * np.log(p) - (1 - p) ** parameter / p

        return y * slope(p) - (1 - y) * slope(1 - p) * (out_activation == "logistic")
    raise ValueError("log_loss is only defined on logistic and softmax outputs")


def per_row(sample_weight, like):
    """Sample weights as a column that multiplies the rows of an array; 1 where there are none."""
    if sample_weight is None:
        return like.dtype.type(1)
    return np.asarray(sample_weight, dtype=like.dtype)[:, np.newaxis]


def loss_and_delta(loss, out_activation, logits, y, sample_weight=None, slope=None, parameter=None):
    """Mean loss of a batch, and ``delta``: each sample's derivative with respect to its logits.

    ``y`` has the shape of ``logits`` (classes as one column of 0 and 1 each). With sample weights
    the mean is weighted, and the rows of ``delta`` are multiplied by them.
    """
    out = activate(out_activation, logits, slope)
    losses = sample_losses(loss, out_activation, y, out, parameter)
    loss_value = np.average(losses, weights=sample_weight)
    if (loss, out_activation) in CANONICAL_PAIRS:
        if loss == "log_loss":
            y = smoothed(y, out_activation, parameter or 0.0)
        delta = (out - y).astype(logits.dtype)
    else:
        upstream = output_gradient(loss, y, out, parameter, out_activation)
        delta = activation_backward(out_activation, logits, upstream, slope)
    return loss_value, delta * per_row(sample_weight, delta)


# --------------------------------------------------------------------------------------
# The network: forward and backward
# --------------------------------------------------------------------------------------


@dataclass
class Network:
    """Parameters and activations of a multi-layer perceptron.

    ``slopes`` has one entry per layer of weights, the output's last; where the latter is left out,
    it is the activation's own. Where the layer's activation is ``"prelu"``, the slope is a
    parameter that training changes; elsewhere it stays as it is (and is unused, if the activation
    has no slope). ``norms`` has, for each hidden layer, its scales and offsets, or None; left out,
    no layer is normalised. ``dropout`` has the share of its units that training drops.
    """

    weights: list
    biases: list
    activations: list
    out_activation: str
    slopes: np.ndarray = field(default=None)
    norms: list = field(default_factory=list)
    dropout: list = field(default_factory=list)

    def __post_init__(self):
        """Fill in each activation's own slope where none was given."""
        given = [] if self.slopes is None else list(self.slopes)
        own = [default_slope(name) or 0.0 for name in self.layer_activations[len(given) :]]
        self.slopes = np.array(given + own, dtype=self.weights[0].dtype)
        self.norms = list(self.norms) or [None] * len(self.activations)
        self.dropout = list(self.dropout) or [0.0] * len(self.activations)

    @property
    def layer_activations(self):
        """The activation of every layer of weights, the output's last."""
        return [*self.activations, self.out_activation]

    @property
    def parameters(self):
        """All arrays that training changes, in the order of the gradients of `backward`."""
        norms = [array for pair in self.norms if pair is not None for array in pair]
        return [*self.weights, *self.biases, *norms, self.slopes]


def initialise(layer_sizes, activations, out_activation, rng, dtype=np.float64, slopes=None):
    """Draw a network as scikit-learn does.

    Weights and biases are uniform in ``[-b, b]`` with ``b = sqrt(f / (fan_in + fan_out))``:
    Glorot's rule with f = 6, or f = 2 when the hidden activation is logistic.
    """
    factor = 2.0 if activations and activations[0] == "logistic" else 6.0
    weights, biases = [], []
    for fan_in, fan_out in itertools.pairwise(layer_sizes):
        bound = np.sqrt(factor / (fan_in + fan_out))
        weights.append(rng.uniform(-bound, bound, (fan_in, fan_out)).astype(dtype))
        biases.append(rng.uniform(-bound, bound, fan_out).astype(dtype))
    return Network(weights, biases, list(activations), out_activation, slopes)


def draw_weights(rule, fan_in, fan_out, rng):
    """Weights of one layer by one of the field's rules, named as ``"he_normal"`` is."""
    if rule == "orthogonal":
        q, r = np.linalg.qr(rng.normal(size=(max(fan_in, fan_out), min(fan_in, fan_out))))
        q = q * np.sign(np.diag(r))
        return q if fan_in >= fan_out else q.T
    author, shape = rule.split("_")
    variance = {"glorot": 2 / (fan_in + fan_out), "he": 2 / fan_in, "lecun": 1 / fan_in}[author]
    if shape == "normal":
        return rng.normal(scale=np.sqrt(variance), size=(fan_in, fan_out))
    return rng.uniform(-np.sqrt(3 * variance), np.sqrt(3 * variance), (fan_in, fan_out))


NORM_EPSILON = 1e-5


def normalise(z, scales, offsets):
    """Each row with mean 0 and variance 1, and then the learned scale and offset of each unit."""
    deviation = np.sqrt(z.var(axis=1, keepdims=True) + NORM_EPSILON)
    return (z - z.mean(axis=1, keepdims=True)) / deviation * scales + offsets


def normalise_backward(z, scales, upstream):
    """Derivatives with respect to ``z``, the scales and the offsets, the latter summed over rows.

    Mean and variance depend on every ``z`` of a row, so each of the two takes a part away.
    """
    deviation = np.sqrt(z.var(axis=1, keepdims=True) + NORM_EPSILON)
    normal = (z - z.mean(axis=1, keepdims=True)) / deviation
    g = upstream * scales
    through_mean = g.mean(axis=1, keepdims=True)
    through_variance = normal * (g * normal).mean(axis=1, keepdims=True)
    delta = (g - through_mean - through_variance) / deviation
    return delta, (upstream * normal).sum(axis=0), upstream.sum(axis=0)


def mix(number):
    """SplitMix64: every bit of the result depends on every bit of a 64-bit number."""
    bits = 2**64 - 1
    z = (number + 0x9E3779B97F4A7C15) & bits
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & bits
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & bits
    return z ^ (z >> 31)


def is_kept(noise, layer, shape, rate):
    """Which units of a whole batch a step of training keeps, from a hash of their places."""
    key = mix(mix(noise) ^ layer)
    h = (np.arange(np.prod(shape), dtype=np.uint64) * 0x9E3779B9 + key % 2**32) % 2**32
    h ^= h >> 16
    h = h * 0x85EBCA6B % 2**32
    h ^= h >> 13
    h ^= key >> 32
    h = h * 0xC2B2AE35 % 2**32
    h ^= h >> 16
    return (h >= round(rate * 2**32)).reshape(shape)


def dropout_terms(network, layer, shape, noise):
    """What a layer's activations are multiplied by, and what is added to them then."""
    rate = network.dropout[layer]
    if noise is None or rate == 0:
        return 1.0, 0.0
    kept = is_kept(noise, layer, shape, rate)
    rate = round(rate * 2**32) / 2**32  # that of the integers that are compared
    if network.activations[layer] != "selu":
        return kept / (1 - rate), 0.0
    # Alpha dropout: what is dropped takes selu's least value, and an affine map restores mean 0
    # and variance 1.
    least = -SELU_SCALE * SELU_ALPHA
    factor = 1 / np.sqrt((1 - rate) * (1 + rate * least**2))
    return factor * kept, factor * (least * ~kept - rate * least)


def forward(network, X, noise=None):
    """Return the ``z`` of every layer, and the activations of every layer, input included.

    ``z`` is what the activation is applied to, after any normalisation. With ``noise``, units drop
    out as in a training step: their activations are those that the next layer sees.
    """
    pre_activations, activations = [], [X]
    layers = zip(
        network.weights, network.biases, network.layer_activations, network.slopes, strict=True
    )
    for layer, (W, b, name, slope) in enumerate(layers):
        z, is_hidden = activations[-1] @ W + b, layer < len(network.activations)
        if is_hidden and network.norms[layer] is not None:
            z = normalise(z, *network.norms[layer])
        pre_activations.append(z)
        a = activate(name, z, slope)
        if is_hidden:
            factor, shift = dropout_terms(network, layer, a.shape, noise)
            a = a * factor + shift
        activations.append(a)
    return pre_activations, activations


def predict(network, X):
    """The outputs of the network: shape ``(n_samples, n_outputs)``."""
    return forward(network, X)[1][-1]


def l2_penalty(network, alpha):
    """Half of alpha times the sum of all squared weights; biases and slopes go free."""
    return 0.5 * alpha * sum((W**2).sum() for W in network.weights)


def l1_penalty(network, l1):
    """The sum of the absolute values of all weights."""
    return l1 * sum(np.abs(W).sum() for W in network.weights)


def clip(gradients, max_norm):
    """Shorten a gradient to ``max_norm`` if it is longer, in place."""
    norm = np.sqrt(sum((gradient**2).sum() for gradient in gradients))
    if norm > max_norm:
        for gradient in gradients:
            gradient *= max_norm / norm


def backward(network, X, y, loss, alpha=0.0, sample_weight=None, l1=0.0, noise=None):
    """Mean loss of a batch, and its gradient in the order of ``network.parameters``.

    Both the loss and the gradient contain the penalties; everything is divided by the number of
    samples, or by the sum of their weights. With ``noise``, units drop out.
    """
    total_weight = len(X) if sample_weight is None else np.sum(sample_weight)
    pre_activations, activations = forward(network, X, noise)

    loss_value, delta = loss_and_delta(
        loss, network.out_activation, pre_activations[-1], y, sample_weight, network.slopes[-1]
    )
    loss_value += (l2_penalty(network, alpha) + l1_penalty(network, l1)) / total_weight

    weight_gradients, bias_gradients, norm_gradients = [], [], []
    slope_gradients = np.zeros_like(network.slopes)
    if network.out_activation == "prelu":
        upstream = output_gradient(loss, y, activations[-1])
        upstream = upstream * per_row(sample_weight, upstream)
        slope_gradients[-1] = slope_gradient("prelu", pre_activations[-1], upstream) / total_weight
    for layer in reversed(range(len(network.weights))):
        W = network.weights[layer]
        penalties = alpha * W + l1 * np.sign(W)
        weight_gradients.insert(0, (activations[layer].T @ delta + penalties) / total_weight)
        bias_gradients.insert(0, delta.sum(axis=0) / total_weight)
        if layer == 0:
            break
        below = layer - 1
        name, z, upstream = network.activations[below], pre_activations[below], delta @ W.T
        upstream = upstream * dropout_terms(network, below, upstream.shape, noise)[0]
        slope_gradients[below] = slope_gradient(name, z, upstream) / total_weight
        delta = activation_backward(name, z, upstream, network.slopes[below])
        if network.norms[below] is not None:
            scales = network.norms[below][0]
            z = activations[below] @ network.weights[below] + network.biases[below]
            delta, of_scales, of_offsets = normalise_backward(z, scales, delta)
            norm_gradients[:0] = [of_scales / total_weight, of_offsets / total_weight]
    return loss_value, [*weight_gradients, *bias_gradients, *norm_gradients, slope_gradients]


def to_inputs(network, X, delta):
    """Carry ``delta`` of the output layer down to the inputs: the gradient of each row of X."""
    pre_activations, activations = forward(network, X)
    for layer in reversed(range(1, len(network.weights))):
        name, z, slope = network.activations[layer - 1], pre_activations[layer - 1], network.slopes
        delta = activation_backward(name, z, delta @ network.weights[layer].T, slope[layer - 1])
        if network.norms[layer - 1] is not None:
            z = activations[layer - 1] @ network.weights[layer - 1] + network.biases[layer - 1]
            delta, *_ = normalise_backward(z, network.norms[layer - 1][0], delta)
    return delta @ network.weights[0].T


def input_gradients_of_loss(network, X, y, loss):
    """The gradient of each sample's loss with respect to its inputs, in the shape of ``X``."""
    pre_activations, _ = forward(network, X)
    logits, slope = pre_activations[-1], network.slopes[-1]
    _, delta = loss_and_delta(loss, network.out_activation, logits, y, slope=slope)
    return to_inputs(network, X, delta)


def input_gradients_of_output(network, X, output, logits=False):
    """The gradient of one output unit, or of its logit, with respect to the inputs."""
    pre_activations, _ = forward(network, X)
    upstream = np.zeros_like(pre_activations[-1])
    upstream[:, output] = 1
    if not logits:
        upstream = activation_backward(
            network.out_activation, pre_activations[-1], upstream, network.slopes[-1]
        )
    return to_inputs(network, X, upstream)


# --------------------------------------------------------------------------------------
# Optimizers
# --------------------------------------------------------------------------------------


@dataclass
class SGD:
    r"""Gradient descent, plain, with momentum, or with Nesterov's momentum.

    .. math:: v \leftarrow \mu v - \eta g, \qquad
              \theta \leftarrow \theta + v \quad\text{or, Nesterov,}\quad
              \theta \leftarrow \theta + \mu v - \eta g
    """

    learning_rate_init: float = 0.001
    schedule: str = "constant"
    momentum: float = 0.0
    nesterov: bool = False
    power_t: float = 0.5

    def __post_init__(self):
        """Start at the initial rate, without any velocity."""
        self.learning_rate = self.learning_rate_init
        self.velocities = None

    def step(self, parameters, gradients):
        """Update every parameter array in place."""
        if self.velocities is None:
            self.velocities = [np.zeros_like(p) for p in parameters]
        for parameter, gradient, velocity in zip(
            parameters, gradients, self.velocities, strict=True
        ):
            velocity *= self.momentum
            velocity -= self.learning_rate * gradient
            if self.nesterov:
                parameter += self.momentum * velocity - self.learning_rate * gradient
            else:
                parameter += velocity

    def end_epoch(self, n_samples_seen):
        """Inverse scaling counts samples, not steps or epochs."""
        if self.schedule == "invscaling":
            self.learning_rate = self.learning_rate_init / (n_samples_seen + 1) ** self.power_t

    def should_stop(self):
        """Called when progress has ceased: the adaptive schedule first tries smaller rates."""
        if self.schedule != "adaptive" or self.learning_rate <= 1e-6:
            return True
        self.learning_rate /= 5
        return False


@dataclass
class Adam:
    r"""Adam, with epsilon outside the bias correction, as in scikit-learn.

    .. math:: m \leftarrow \beta_1 m + (1-\beta_1) g, \quad
              v \leftarrow \beta_2 v + (1-\beta_2) g^2, \quad
              \theta \leftarrow \theta -
              \eta \frac{\sqrt{1-\beta_2^t}}{1-\beta_1^t} \frac{m}{\sqrt v + \epsilon}
    """

    learning_rate_init: float = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self):
        """Start without any moments, at step 0."""
        self.t = 0
        self.moments = None

    def step(self, parameters, gradients):
        """Update every parameter array in place."""
        if self.moments is None:
            self.moments = [(np.zeros_like(p), np.zeros_like(p)) for p in parameters]
        self.t += 1
        correction = float(np.sqrt(1 - self.beta_2**self.t)) / (1 - self.beta_1**self.t)
        for parameter, gradient, (m, v) in zip(parameters, gradients, self.moments, strict=True):
            m *= self.beta_1
            m += (1 - self.beta_1) * gradient
            v *= self.beta_2
            v += (1 - self.beta_2) * gradient**2
            parameter -= self.learning_rate_init * correction * m / (np.sqrt(v) + self.epsilon)

    def end_epoch(self, n_samples_seen):
        """Adam keeps its rate."""

    def should_stop(self):
        """Adam has no smaller rate to try."""
        return True


@dataclass
class AdamW(Adam):
    r"""Adam that also shrinks the weights, which are the matrices among the parameters.

    .. math:: w \leftarrow (1 - \eta d) w \quad\text{before Adam's step}
    """

    weight_decay: float = 0.01

    def step(self, parameters, gradients):
        """Update every parameter array in place."""
        for parameter in parameters:
            if parameter.ndim == 2:
                parameter *= 1 - self.learning_rate_init * self.weight_decay
        super().step(parameters, gradients)


@dataclass
class NAdam(Adam):
    r"""Adam that looks ahead by Nesterov's momentum, which grows from half of beta_1 to beta_1.

    With :math:`\mu_t = \beta_1 (1 - 0.96^{0.004 t} / 2)` and :math:`P_t = \mu_1 \cdots \mu_t`,

    .. math:: \hat m = \frac{(1-\mu_t) g}{1 - P_t} + \frac{\mu_{t+1} m}{1 - P_{t+1}}, \quad
              \theta \leftarrow \theta - \eta\sqrt{1-\beta_2^t} \frac{\hat m}{\sqrt v + \epsilon}
    """

    def __post_init__(self):
        """Start without any moments, at step 0."""
        super().__post_init__()
        self.product = 1.0

    def momentum_at(self, step):
        """The momentum of a step."""
        return self.beta_1 * (1 - 0.5 * 0.96 ** (0.004 * step))

    def step(self, parameters, gradients):
        """Update every parameter array in place."""
        if self.moments is None:
            self.moments = [(np.zeros_like(p), np.zeros_like(p)) for p in parameters]
        self.t += 1
        now, later = self.momentum_at(self.t), self.momentum_at(self.t + 1)
        self.product *= now
        root = float(np.sqrt(1 - self.beta_2**self.t))
        for parameter, gradient, (m, v) in zip(parameters, gradients, self.moments, strict=True):
            m += (1 - self.beta_1) * (gradient - m)
            v += (1 - self.beta_2) * (gradient**2 - v)
            ahead = (1 - now) / (1 - self.product) * gradient
            ahead += later / (1 - self.product * later) * m
            parameter -= self.learning_rate_init * root * ahead / (np.sqrt(v) + self.epsilon)


@dataclass
class RMSprop(Adam):
    r"""Steps by the gradient over its fading root mean square; beta_2 is how slowly it fades.

    .. math:: v \leftarrow \beta_2 v + (1-\beta_2) g^2, \quad
              \theta \leftarrow \theta - \eta \frac{g}{\sqrt v + \epsilon}
    """

    def step(self, parameters, gradients):
        """Update every parameter array in place."""
        if self.moments is None:
            self.moments = [np.zeros_like(p) for p in parameters]
        for parameter, gradient, v in zip(parameters, gradients, self.moments, strict=True):
            v += self.added(gradient**2, v)
            parameter -= self.learning_rate_init * gradient / (np.sqrt(v) + self.epsilon)

    def added(self, square, v):
        """What a squared gradient adds to v."""
        return (1 - self.beta_2) * (square - v)


@dataclass
class Adagrad(RMSprop):
    r"""Steps by the gradient over the root of the sum of its squares.

    .. math:: v \leftarrow v + g^2, \quad
              \theta \leftarrow \theta - \eta \frac{g}{\sqrt v + \epsilon}
    """

    def added(self, square, v):
        """What a squared gradient adds to v."""
        return square


# --------------------------------------------------------------------------------------
# Training
# --------------------------------------------------------------------------------------


def train(
    network,
    X,
    y,
    loss,
    optimizer,
    *,
    batch_size,
    n_epochs,
    rng=None,
    alpha=0.0,
    sample_weight=None,
    tol=1e-4,
    n_iter_no_change=10,
):
    """Train ``network`` in place by mini-batches, and return the loss of every epoch.

    ``batch_size = len(X)`` is batch gradient descent, ``1`` is stochastic gradient descent. With an
    ``rng`` (a `numpy.random.RandomState`) the samples are shuffled before every epoch; without,
    they are taken in order. Training ends early once more than ``n_iter_no_change`` epochs in a row
    did not better the lowest loss by ``tol``, unless the optimizer has a smaller rate to try.
    """
    n_samples = len(X)
    order = np.arange(n_samples)
    loss_curve, best_loss, n_stale = [], np.inf, 0

    for epoch in range(1, n_epochs + 1):
        if rng is not None:
            permutation = np.arange(n_samples)
            rng.shuffle(permutation)
            order = order[permutation]

        epoch_loss = 0.0
        for start in range(0, n_samples, batch_size):
            rows = order[start : start + batch_size]
            batch_loss, gradients = backward(
                network,
                X[rows],
                y[rows],
                loss,
                alpha,
                None if sample_weight is None else sample_weight[rows],
            )
            epoch_loss += batch_loss * len(rows)
            optimizer.step(network.parameters, gradients)

        loss_curve.append(epoch_loss / n_samples)
        n_stale = n_stale + 1 if loss_curve[-1] > best_loss - tol else 0
        best_loss = min(best_loss, loss_curve[-1])
        optimizer.end_epoch(epoch * n_samples)
        if n_stale > n_iter_no_change:
            if optimizer.should_stop():
                break
            n_stale = 0
    return loss_curve


# --------------------------------------------------------------------------------------
# Finite differences
# --------------------------------------------------------------------------------------


def finite_difference(f, x, step=1e-3):
    """Derivative of an elementwise function by a central difference of fourth order."""
    return (f(x - 2 * step) - 8 * f(x - step) + 8 * f(x + step) - f(x + 2 * step)) / (12 * step)


def finite_difference_gradient(f, array, step=1e-3):
    """Gradient of ``f()``, a number, with respect to the entries of ``array``.

    Each entry is moved in place, and put back.
    """
    gradient = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        centre = array[index]

        def moved(value, index=index):
            array[index] = value
            return f()

        gradient[index] = finite_difference(moved, centre, step)
        array[index] = centre
    return gradient
