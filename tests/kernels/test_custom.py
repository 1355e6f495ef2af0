"""A user's functions: compared with the built-in ones, kept on disk, and never stale there."""

# A user may well write a lambda.
# ruff: noqa: PLW0108

import copy
import functools
import math
import pickle
import textwrap

import numba
import numpy as np
import pytest

from fastmlp import CustomActivation, CustomLoss
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.digest import digest_of
from fastmlp.kernels.losses import LOSSES
from tests import reference
from tests.kernels import compiled
from tests.kernels.compiled import FLOATS, IS_COMPILED
from tests.test_cache import COUNTER, PACKAGE, run

needs_compilation = pytest.mark.skipif(not IS_COMPILED, reason="there is no machine code")
SLOPE = 0.1


def tanh(z):
    return math.tanh(z)


def tanh_derivative(z):
    return 1 - np.tanh(z) ** 2


def silu(z):
    return z / (1 + np.exp(-z))


def silu_derivative(z):
    s = 1 / (1 + math.exp(-z))
    return s * (1 + z * (1 - s))


def relu(z):
    return z if z > 0 else 0


def relu_derivative(z):
    return z > 0


def softplus(z):
    return max(z, 0) + math.log1p(math.exp(-abs(z)))


def softplus_derivative(z):
    return 1 / (1 + np.exp(-z))


def squared_error(prediction, target):
    return 0.5 * (prediction - target) ** 2


def squared_error_gradient(prediction, target):
    return prediction - target


def poisson(prediction, target):
    return target * np.log(target / prediction) - target + prediction


def poisson_gradient(prediction, target):
    return 1 - target / prediction


CUSTOM = {
    "tanh": CustomActivation(tanh, tanh_derivative),
    "silu": CustomActivation(silu, silu_derivative),
    "relu": CustomActivation(relu, relu_derivative),
    "softplus": CustomActivation(softplus, softplus_derivative),
}
SQUARED_ERROR = CustomLoss(squared_error, squared_error_gradient)
POISSON = CustomLoss(poisson, poisson_gradient)


# --------------------------------------------------------------------------------------
# Loops
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", CUSTOM)
def test_activation(name, dtype):
    z = np.random.default_rng(0).normal(scale=3, size=1000).astype(dtype)
    upstream = np.random.default_rng(1).normal(size=1000).astype(dtype)
    tolerance = {"rtol": 20 * float(np.finfo(dtype).eps), "atol": 20 * float(np.finfo(dtype).eps)}
    a = z.copy()
    compiled.activate(CUSTOM[name], 0, a)
    wide = z.astype(np.float64)
    np.testing.assert_allclose(a, reference.activate(name, wide), **tolerance)
    delta = upstream.copy()
    compiled.multiply_by_derivative(CUSTOM[name], 0, z, np.full_like(z, np.nan), delta)
    np.testing.assert_allclose(delta, reference.derivative(name, wide) * upstream, **tolerance)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("loss", [SQUARED_ERROR, POISSON], ids=str)
def test_loss(loss, dtype):
    rng, tolerance = np.random.default_rng(0), {"rtol": 50 * float(np.finfo(dtype).eps)}
    outputs, targets = rng.uniform(0.1, 5, size=(2, 30, 2)).astype(dtype)
    weights = rng.uniform(0, 2, size=30).astype(dtype)
    delta, terms = np.full((2, 60), np.nan, dtype)
    flat = outputs.reshape(-1), targets.reshape(-1)
    compiled.loss_and_delta(loss, 2, *flat, weights, np.zeros(2, dtype), delta, terms)
    a, y = outputs.astype(np.float64), targets.astype(np.float64)
    expected = loss.function(a, y)
    assert loss.terms(outputs, targets).dtype == dtype
    np.testing.assert_allclose(loss.terms(outputs, targets), expected, atol=1e-6, **tolerance)
    spread = np.repeat(weights, 2).astype(np.float64)
    np.testing.assert_allclose(terms, expected.reshape(-1) * spread, atol=1e-6, **tolerance)
    gradient = loss.gradient(a, y).reshape(-1) * spread
    np.testing.assert_allclose(delta, gradient, atol=1e-6, **tolerance)


@needs_compilation
@pytest.mark.parametrize("dtype", FLOATS)
def test_logarithms_know_their_domain(dtype):
    numbers = np.array([-np.inf, -2, -1, -0.5, 0, 1, 2, np.inf, np.nan], dtype)
    for function, exact in [
        (lambda z: math.log(z), np.log), (lambda z: np.log1p(z), np.log1p),
        (lambda z: math.log(2) + math.exp(-1) * z, lambda z: math.log(2) + math.exp(-1) * z),
    ]:  # fmt: skip
        custom = CustomActivation(function, lambda z: 1.0, check=False)
        a = numbers.copy()
        compiled.activate(custom, 0, a)
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(a, exact(numbers), rtol=1e-6)


def test_table_takes_rows_that_things_bring_themselves():
    custom = CUSTOM["tanh"]
    assert ACTIVATIONS[custom] is custom.row
    assert LOSSES[SQUARED_ERROR] is SQUARED_ERROR.row
    assert custom not in ACTIVATIONS
    for table in (ACTIVATIONS, LOSSES):
        with pytest.raises(KeyError, match="unheard of"):
            table["unheard of"]


# --------------------------------------------------------------------------------------
# Objects
# --------------------------------------------------------------------------------------


def test_equality_copies_and_text():
    custom = CustomActivation(silu, silu_derivative)
    assert custom == CUSTOM["silu"] != CUSTOM["tanh"]
    assert hash(custom) == hash(CUSTOM["silu"])
    assert custom != CustomActivation(silu, lambda z: silu_derivative(z))
    assert custom != CustomLoss(lambda a, y: 0.0 * a, lambda a, y: 0.0 * a)
    for again in (copy.deepcopy(custom), copy.copy(custom), pickle.loads(pickle.dumps(custom))):
        assert again == custom
        assert again.row is custom.row
    assert (repr(custom), str(custom)) == ("CustomActivation(silu, silu_derivative)", "silu")
    assert repr(SQUARED_ERROR) == "CustomLoss(squared_error, squared_error_gradient)"
    assert str(SQUARED_ERROR) == "squared_error"
    with pytest.raises(AttributeError):
        custom.function = relu


def test_pickle_needs_functions_with_a_name():
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(CustomActivation(lambda z: z, lambda z: 1.0))


@pytest.mark.parametrize(
    "value", [np.tanh, math.tanh, "tanh", None, functools.partial(tanh), lambda: 0.0,
              lambda a, y: a, lambda *, z: z],
    ids=repr,
)  # fmt: skip
def test_what_is_no_function_of_a_number_is_refused(value):
    with pytest.raises(
        TypeError, match="'function' parameter of CustomActivation must be a Python"
    ):
        CustomActivation(value, tanh_derivative)
    with pytest.raises(TypeError, match=r"'derivative' parameter of CustomActi.* one number"):
        CustomActivation(tanh, value)


def test_what_is_no_function_of_two_numbers_is_refused():
    with pytest.raises(TypeError, match=r"'function' parameter of CustomLoss .*prediction and t"):
        CustomLoss(tanh, squared_error_gradient)
    with pytest.raises(TypeError, match="'gradient' parameter of CustomLoss"):
        CustomLoss(squared_error, tanh)


# --------------------------------------------------------------------------------------
# Derivatives
# --------------------------------------------------------------------------------------


def single_precision(z):
    return np.float32(1) / (np.float32(1) + np.exp(-np.float32(z)))


RIGHT = {
    "corner": (lambda z: abs(z), lambda z: np.sign(z)),
    "corner at a point that is looked at": (lambda z: abs(z - 0.31), lambda z: np.sign(z - 0.31)),
    "jump": (lambda z: 1.0 if z > 0.79 else 0.0, lambda z: 0.0),
    "half a domain": (lambda z: math.sqrt(z), lambda z: 0.5 / math.sqrt(z)),
    "overflow": (lambda z: math.exp(z**3), lambda z: 3 * z**2 * math.exp(z**3)),
    "oscillation": (lambda z: math.sin(100 * z), lambda z: 100 * math.cos(100 * z)),
    "float32": (single_precision, lambda z: single_precision(z) * (1 - single_precision(z))),
    "constant": (lambda z: 2, lambda z: 0),
}
WRONG = {
    "sign": (lambda z: abs(z), lambda z: -np.sign(z)),
    "one branch": (lambda z: z if z > 0 else 0.1 * z, lambda z: 1 if z > 0 else 0.2),
    "tail": (lambda z: min(max(z, -3), 3), lambda z: 1.0),
    "factor": (lambda z: z**2, lambda z: z),
    "a little": (lambda z: math.tanh(z), lambda z: 1 - math.tanh(z) ** 2 + 1e-4),
    "never finite": (lambda z: z, lambda z: math.nan),
}


@pytest.mark.parametrize("case", RIGHT)
def test_right_derivative_passes(case):
    CustomActivation(*RIGHT[case])


@pytest.mark.parametrize("case", WRONG)
def test_wrong_derivative_is_refused(case):
    with pytest.raises(ValueError, match="Set check=False if that is meant"):
        CustomActivation(*WRONG[case])
    CustomActivation(*WRONG[case], check=False)


def test_message_names_the_functions_and_the_point():
    def surrogate(z):
        return 1 / (1 + abs(z)) ** 2

    def step(z):
        return 1.0 if z > 0 else 0.0

    with pytest.raises(
        ValueError, match=r"'derivative' .* of 'step', but at \(-7.13\) 'surrogate'"
    ):
        CustomActivation(step, surrogate)
    message = r"'gradient' .* at \(-7.13, -3.41\) '<lambda>' is 3.72, and .* difference is -3.72"
    with pytest.raises(ValueError, match=message):
        CustomLoss(squared_error, lambda prediction, target: target - prediction)


def test_losses_of_positive_numbers_only_can_be_checked():
    with pytest.raises(ValueError, match="'gradient' parameter must be the derivative"):
        CustomLoss(poisson, lambda prediction, target: 1 - target * prediction)


# --------------------------------------------------------------------------------------
# Digests
# --------------------------------------------------------------------------------------


def make(source, **names):
    """Define a function f as a module would."""
    exec(textwrap.dedent(source), names)
    return names["f"]


SAME = "def f(z):\n    return SLOPE * math.tanh(z) if z > 0 else 0.5"


def test_digest_tells_what_matters():
    names = {"math": math, "SLOPE": 0.1}
    digests = [
        digest_of(make(SAME, **names)),
        digest_of(make(SAME, **names | {"SLOPE": 0.2})),
        digest_of(make(SAME, **names | {"SLOPE": 1})),
        digest_of(make(SAME, **names | {"SLOPE": True})),
        digest_of(make(SAME, **names | {"SLOPE": np.float32(0.1)})),
        digest_of(make(SAME, **names | {"SLOPE": np.array([0.1])})),
        digest_of(make(SAME, **names | {"SLOPE": np.array([0.2])})),
        digest_of(make(SAME, **names | {"math": np})),
        digest_of(make(SAME.replace("0.5", "0.25"), **names)),
        digest_of(make(SAME.replace("tanh", "sin"), **names)),
        digest_of(make(SAME.replace(">", "<"), **names)),
        digest_of(make(SAME.replace("f(z)", "f(z, s=1)"), **names)),
        digest_of(make(SAME.replace("f(z)", "f(z, s=2)"), **names)),
        digest_of(make(SAME.replace("f(z)", "f(z, *, s=2)"), **names)),
    ]
    assert None not in digests
    assert len(set(digests)) == len(digests)


def test_digest_does_not_tell_what_does_not_matter():
    one = make(SAME, math=math, SLOPE=0.1)
    other = make("\n\n# A comment.\n" + SAME, math=math, SLOPE=0.1, another=object())
    assert digest_of(one) == digest_of(other) == digest_of(numba.njit(one))


def test_digest_of_closures_and_of_functions_inside():
    def scaled(slope):
        return lambda z: slope * z

    assert digest_of(scaled(0.1)) == digest_of(scaled(0.1)) != digest_of(scaled(0.2))

    def outer(z):
        def inner(x):
            return SLOPE * x

        return inner(z)

    before = digest_of(outer)
    assert before is not None
    globals()["SLOPE"] = 0.3
    try:
        assert digest_of(outer) not in (None, before)
    finally:
        globals()["SLOPE"] = 0.1
    assert digest_of(outer) == before


@numba.njit
def helper(z):
    return SLOPE * z


def test_digest_covers_compiled_helpers():
    if not IS_COMPILED:
        pytest.skip("there are no compiled functions")
    f = make("def f(z):\n    return helper(z)", helper=helper)
    before = digest_of(f)
    assert before is not None
    globals()["SLOPE"] = 0.3
    try:
        assert digest_of(f) not in (None, before)
    finally:
        globals()["SLOPE"] = 0.1

    # Two functions of this name could meet in one process.
    @numba.njit
    def local(z):
        return z

    assert digest_of(make("def f(z):\n    return local(z)", local=local)) is None


def test_what_may_change_unseen_has_no_digest():
    class Settings:
        slope = 0.1

    for value in (Settings, Settings(), [0.1], {"slope": 0.1}, textwrap, make, lambda z: z):
        assert digest_of(make("def f(z):\n    return SLOPE", SLOPE=value)) is None

    def late(z):
        return unbound * z

    assert digest_of(late) is None
    unbound = 1


@needs_compilation
def test_change_of_a_global_is_noticed_within_a_process():
    names = {"SLOPE": 2.0}
    exec("def f(z):\n    return SLOPE * z", names)
    custom = CustomActivation(names["f"], lambda z: 2.0)
    for slope in (2.0, 3.0, 2.0):
        names["SLOPE"] = slope
        a = np.ones(3)
        compiled.activate(custom, 0, a)
        assert a.tolist() == [slope] * 3


# --------------------------------------------------------------------------------------
# The cache
# --------------------------------------------------------------------------------------

FUNCTIONS = """
import math
import numba

WIDTH = 2.0

@numba.njit
def scaled(error):
    return error / WIDTH

def log_cosh(prediction, target):
    return math.log(math.cosh(scaled(prediction - target))) * 4.0

def log_cosh_gradient(prediction, target):
    return math.tanh(scaled(prediction - target)) * 2.0
"""
SCRIPT = (
    COUNTER
    + """
import sys
sys.path.insert(0, {directory!r})
import numpy as np
from fastmlp import CustomLoss
import functions

loss = CustomLoss(functions.log_cosh, functions.log_cosh_gradient, check=False)
terms = loss.terms(np.array([[1.0, 2.0]]), np.array([[0.0, 0.0]]))
print(terms.tolist(), counter.count > 0)
"""
)


@needs_compilation
def test_second_process_compiles_nothing_and_edits_are_noticed(tmp_path):
    path = tmp_path / "functions.py"

    def result(source):
        path.write_text(source, encoding="utf-8")
        script = SCRIPT.format(directory=str(tmp_path))
        environment = {"FASTMLP_CACHE_DIR": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        (line,) = run(script, PACKAGE.parent, **environment)
        terms, is_compiled = line.rsplit(" ", 1)
        return eval(terms)[0], is_compiled == "True"

    def expected(width, factor):
        return [factor * math.log(math.cosh(error / width)) for error in (1.0, 2.0)]

    for source, width, factor, is_compiled in [
        (FUNCTIONS, 2, 4, True),
        (FUNCTIONS, 2, 4, False),
        ("# A comment.\n" + FUNCTIONS, 2, 4, False),
        (FUNCTIONS.replace("* 4.0", "* 3.0"), 2, 3, True),
        (FUNCTIONS.replace("WIDTH = 2.0", "WIDTH = 5.0"), 5, 4, True),
        (FUNCTIONS.replace("error / WIDTH", "error / WIDTH / 2"), 4, 4, True),
        (FUNCTIONS, 2, 4, False),
        # A list may change at any time: no digest, nothing kept.
        (FUNCTIONS.replace("WIDTH = 2.0", "class W: pass\nWIDTH = (2.0,)\nwidths = [1]")
         .replace("/ WIDTH", "/ WIDTH[0]"), 2, 4, True),
    ]:  # fmt: skip
        terms, was_compiled = result(source)
        np.testing.assert_allclose(terms, expected(width, factor), rtol=1e-12)
        assert was_compiled == is_compiled, source
