"""exp, log, tanh and their relatives as polynomials that LLVM vectorises.

Numba compiles ``math.exp`` to one call of the C library per element, 7 to 45 times slower than
these, which have no branch, no table and no call. Contract of every function here: one float32 or
float64 argument, the result in the same type, NaN in gives NaN out, and values beyond the range of
the type saturate short of its largest or at its smallest normal number instead of overflowing. The
largest errors, in units in the last place, are asserted in ``tests/kernels/test_math.py``.

Method: Cody and Waite's range reduction (n = round(x / ln 2), r = x - n ln 2 in two parts) and a
Chebyshev fit on the rest; ``scripts/fit_polynomials.py`` prints the coefficients.

References
----------
Cody and Waite (1980), *Software Manual for the Elementary Functions*.
Muller (2016), *Elementary Functions: Algorithms and Implementation*, 3rd edition.
"""

from __future__ import annotations

import numpy as np

from fastmlp._jit import by_precision

__all__ = ["exp", "expm1", "log", "log1p", "logistic", "normal_cdf", "normal_pdf", "tanh"]


def _single(*values):
    return tuple(np.float32(value) for value in values)


def _double(*values):
    return tuple(np.float64(value) for value in values)


# Coefficients, highest power first.
_EXP_SINGLE = _single(
    0.001392617611993558,
    0.008363173074513711,
    0.041666554662050534,
    0.1666657702559799,
    0.5,
)
_LOG_SINGLE = _single(
    0.2957994939197279,
    0.3998878056602198,
    0.6666668503957586,
)
_TAIL_SINGLE = _single(
    -0.020830039881198668,
    0.11359012766781491,
    -0.23100231934085605,
    0.19559493198468186,
    -0.08265923992911946,
    0.09792211956059411,
    0.07777295857449573,
    0.11036803427158241,
    0.11955592956841453,
    0.11968749580821332,
)
_EXP_DOUBLE = _double(
    2.5100375832561234e-08,
    2.7620075879983367e-07,
    2.7557268480310024e-06,
    2.4801521322368692e-05,
    0.00019841269863040545,
    0.0013888888917196719,
    0.008333333333330065,
    0.041666666666624164,
    0.16666666666666669,
    0.5000000000000001,
)
_LOG_DOUBLE = _double(
    0.14616449685043406,
    0.15331721600556042,
    0.18182889125261723,
    0.2222221113479508,
    0.28571428625975487,
    0.39999999999899505,
    0.666666666666667,
)
_TAIL_DOUBLE = _double(
    -0.002237877347793727,
    0.03204991173055004,
    -0.21263270730931108,
    0.8667016008805736,
    -2.4247603919925584,
    4.9232603611528205,
    -7.478522159282775,
    8.643905577294865,
    -7.68891861190074,
    5.339252606792498,
    -2.9632208171702406,
    1.335219801231744,
    -0.4704075587384307,
    0.1352695793184992,
    -0.04697542646271044,
    -0.007703040309264108,
    -0.0004960925402752383,
    0.026616793324432418,
    0.05795290224299522,
    0.08736896419407846,
    0.10891121594467536,
    0.11968268483473299,
    0.1196826841116343,
)

# Adding and subtracting 1.5 * 2^(mantissa bits) rounds to an integer, which the low bits then hold.
_ROUND_SINGLE, _ROUND_DOUBLE = np.float32(12582912.0), np.float64(6755399441055744.0)
_ROUND_BITS_SINGLE = _ROUND_SINGLE.view(np.int32)
_ROUND_BITS_DOUBLE = _ROUND_DOUBLE.view(np.int64)
_LOG2E_SINGLE, _LOG2E_DOUBLE = np.float32(1.4426950408889634), np.float64(1.4426950408889634)
# ln 2 = high + low, where n * high is exact for every exponent n.
_LN2_SINGLE = _single(0.693359375, -2.12194440e-4)
_LN2_DOUBLE = _double(6.93147180369123816490e-01, 1.90821492927058770002e-10)
# Where round(x / ln 2) is the smallest and the largest exponent of a normal number.
_LIMITS_SINGLE = _single(-87.33654, 88.37626)
_LIMITS_DOUBLE = _double(-708.3964185322641, 709.4361393)
# Bits of sqrt(1/2), where the mantissa of log's argument is cut.
_SQRT_HALF_SINGLE = np.float32(0.7071067811865476).view(np.int32)
_SQRT_HALF_DOUBLE = np.float64(0.7071067811865476).view(np.int64)
_MANTISSA_SINGLE, _MANTISSA_DOUBLE = np.int32(0x7FFFFF), np.int64(0xFFFFFFFFFFFFF)
_CONSTANTS_SINGLE = _single(0.0, 0.5, 1.0, 2.0, 0.3, 0.3989422804014327)
_CONSTANTS_DOUBLE = _double(0.0, 0.5, 1.0, 2.0, 0.3, 0.3989422804014327)


def _exp_parts_single(x):
    """Return s = 2^n and p = e^r - 1 with e^x = s (1 + p)."""
    low, high = _LIMITS_SINGLE
    x = high if x > high else x
    x = low if x < low else x
    shifted = x * _LOG2E_SINGLE + _ROUND_SINGLE
    n = shifted - _ROUND_SINGLE
    r = x - n * _LN2_SINGLE[0]
    r = r - n * _LN2_SINGLE[1]
    p = _EXP_SINGLE[0]
    p = p * r + _EXP_SINGLE[1]
    p = p * r + _EXP_SINGLE[2]
    p = p * r + _EXP_SINGLE[3]
    p = p * r + _EXP_SINGLE[4]
    exponent = np.int32(np.float32(shifted).view(np.int32) - _ROUND_BITS_SINGLE + np.int32(127))
    return np.int32(exponent << np.int32(23)).view(np.float32), r + r * r * p


def exp_single(x):
    """Return e^x."""
    s, p = _exp_parts(x)
    return s + s * p


def expm1_single(x):
    """Return e^x - 1 without cancellation near zero."""
    s, p = _exp_parts(x)
    return s * p + (s - _CONSTANTS_SINGLE[2])


def tanh_single(x):
    """Return tanh(x) = (e^{2|x|} - 1) / (e^{2|x|} + 1) with the sign of x."""
    e = expm1(_CONSTANTS_SINGLE[3] * abs(x))
    # Beyond 40 the quotient is 1 in both precisions; e / (e + 2) stays 1 there as e saturates.
    return np.copysign(e / (e + _CONSTANTS_SINGLE[3]), x)


def logistic_single(x):
    """Return 1 / (1 + e^-x)."""
    s, p = _exp_parts(-x)
    return _CONSTANTS_SINGLE[2] / (_CONSTANTS_SINGLE[2] + (s + s * p))


def log_single(x):
    """Return the natural logarithm of a positive normal number.

    x = 2^k m with m in [sqrt(1/2), sqrt(2)), log m = 2 artanh(s) with s = (m - 1) / (m + 1).
    """
    bits = np.int32(np.float32(x).view(np.int32) - _SQRT_HALF_SINGLE)
    k = np.float32(np.int32(bits >> np.int32(23)))
    m = np.int32(np.int32(bits & _MANTISSA_SINGLE) + _SQRT_HALF_SINGLE).view(np.float32)
    s = (m - _CONSTANTS_SINGLE[2]) / (m + _CONSTANTS_SINGLE[2])
    w = s * s
    p = _LOG_SINGLE[0]
    p = p * w + _LOG_SINGLE[1]
    p = p * w + _LOG_SINGLE[2]
    # x - x is 0, or NaN where x is: the bits of a NaN would pass for a number.
    tail = s * w * p + k * _LN2_SINGLE[1] + (x - x)
    return k * _LN2_SINGLE[0] + (s + s + tail)


def log1p_single(x):
    """Return log(1 + x) for x >= 0, accurate for small x."""
    y = _CONSTANTS_SINGLE[2] + x
    # What rounding 1 + x lost, to first order.
    return log(y) + (x - (y - _CONSTANTS_SINGLE[2])) / y


def normal_pdf_single(x):
    """Return the density of the standard normal distribution."""
    return _CONSTANTS_SINGLE[5] * exp(-_CONSTANTS_SINGLE[1] * x * x)


def normal_cdf_single(x):
    """Return the distribution function of the standard normal distribution.

    P(N < -|x|) = e^(-x^2/2) t f(t), t = 1 / (1 + 0.3 |x|): accurate far into the lower tail.
    """
    size = abs(x)
    t = _CONSTANTS_SINGLE[2] / (_CONSTANTS_SINGLE[2] + _CONSTANTS_SINGLE[4] * size)
    p = _TAIL_SINGLE[0]
    p = p * t + _TAIL_SINGLE[1]
    p = p * t + _TAIL_SINGLE[2]
    p = p * t + _TAIL_SINGLE[3]
    p = p * t + _TAIL_SINGLE[4]
    p = p * t + _TAIL_SINGLE[5]
    p = p * t + _TAIL_SINGLE[6]
    p = p * t + _TAIL_SINGLE[7]
    p = p * t + _TAIL_SINGLE[8]
    p = p * t + _TAIL_SINGLE[9]
    tail = exp(-_CONSTANTS_SINGLE[1] * size * size) * t * p
    return _CONSTANTS_SINGLE[2] - tail if x > _CONSTANTS_SINGLE[0] else tail


def _exp_parts_double(x):
    """Return s = 2^n and p = e^r - 1 with e^x = s (1 + p)."""
    low, high = _LIMITS_DOUBLE
    x = high if x > high else x
    x = low if x < low else x
    shifted = x * _LOG2E_DOUBLE + _ROUND_DOUBLE
    n = shifted - _ROUND_DOUBLE
    r = x - n * _LN2_DOUBLE[0]
    r = r - n * _LN2_DOUBLE[1]
    p = _EXP_DOUBLE[0]
    p = p * r + _EXP_DOUBLE[1]
    p = p * r + _EXP_DOUBLE[2]
    p = p * r + _EXP_DOUBLE[3]
    p = p * r + _EXP_DOUBLE[4]
    p = p * r + _EXP_DOUBLE[5]
    p = p * r + _EXP_DOUBLE[6]
    p = p * r + _EXP_DOUBLE[7]
    p = p * r + _EXP_DOUBLE[8]
    p = p * r + _EXP_DOUBLE[9]
    exponent = np.int64(np.float64(shifted).view(np.int64) - _ROUND_BITS_DOUBLE + np.int64(1023))
    return np.int64(exponent << np.int64(52)).view(np.float64), r + r * r * p


def exp_double(x):
    """Return e^x."""
    s, p = _exp_parts(x)
    return s + s * p


def expm1_double(x):
    """Return e^x - 1 without cancellation near zero."""
    s, p = _exp_parts(x)
    return s * p + (s - _CONSTANTS_DOUBLE[2])


def tanh_double(x):
    """Return tanh(x) = (e^{2|x|} - 1) / (e^{2|x|} + 1) with the sign of x."""
    e = expm1(_CONSTANTS_DOUBLE[3] * abs(x))
    # Beyond 40 the quotient is 1 in both precisions; e / (e + 2) stays 1 there as e saturates.
    return np.copysign(e / (e + _CONSTANTS_DOUBLE[3]), x)


def logistic_double(x):
    """Return 1 / (1 + e^-x)."""
    s, p = _exp_parts(-x)
    return _CONSTANTS_DOUBLE[2] / (_CONSTANTS_DOUBLE[2] + (s + s * p))


def log_double(x):
    """Return the natural logarithm of a positive normal number.

    x = 2^k m with m in [sqrt(1/2), sqrt(2)), log m = 2 artanh(s) with s = (m - 1) / (m + 1).
    """
    bits = np.int64(np.float64(x).view(np.int64) - _SQRT_HALF_DOUBLE)
    k = np.float64(np.int64(bits >> np.int64(52)))
    m = np.int64(np.int64(bits & _MANTISSA_DOUBLE) + _SQRT_HALF_DOUBLE).view(np.float64)
    s = (m - _CONSTANTS_DOUBLE[2]) / (m + _CONSTANTS_DOUBLE[2])
    w = s * s
    p = _LOG_DOUBLE[0]
    p = p * w + _LOG_DOUBLE[1]
    p = p * w + _LOG_DOUBLE[2]
    p = p * w + _LOG_DOUBLE[3]
    p = p * w + _LOG_DOUBLE[4]
    p = p * w + _LOG_DOUBLE[5]
    p = p * w + _LOG_DOUBLE[6]
    # x - x is 0, or NaN where x is: the bits of a NaN would pass for a number.
    tail = s * w * p + k * _LN2_DOUBLE[1] + (x - x)
    return k * _LN2_DOUBLE[0] + (s + s + tail)


def log1p_double(x):
    """Return log(1 + x) for x >= 0, accurate for small x."""
    y = _CONSTANTS_DOUBLE[2] + x
    # What rounding 1 + x lost, to first order.
    return log(y) + (x - (y - _CONSTANTS_DOUBLE[2])) / y


def normal_pdf_double(x):
    """Return the density of the standard normal distribution."""
    return _CONSTANTS_DOUBLE[5] * exp(-_CONSTANTS_DOUBLE[1] * x * x)


def normal_cdf_double(x):
    """Return the distribution function of the standard normal distribution.

    P(N < -|x|) = e^(-x^2/2) t f(t), t = 1 / (1 + 0.3 |x|): accurate far into the lower tail.
    """
    size = abs(x)
    t = _CONSTANTS_DOUBLE[2] / (_CONSTANTS_DOUBLE[2] + _CONSTANTS_DOUBLE[4] * size)
    p = _TAIL_DOUBLE[0]
    p = p * t + _TAIL_DOUBLE[1]
    p = p * t + _TAIL_DOUBLE[2]
    p = p * t + _TAIL_DOUBLE[3]
    p = p * t + _TAIL_DOUBLE[4]
    p = p * t + _TAIL_DOUBLE[5]
    p = p * t + _TAIL_DOUBLE[6]
    p = p * t + _TAIL_DOUBLE[7]
    p = p * t + _TAIL_DOUBLE[8]
    p = p * t + _TAIL_DOUBLE[9]
    p = p * t + _TAIL_DOUBLE[10]
    p = p * t + _TAIL_DOUBLE[11]
    p = p * t + _TAIL_DOUBLE[12]
    p = p * t + _TAIL_DOUBLE[13]
    p = p * t + _TAIL_DOUBLE[14]
    p = p * t + _TAIL_DOUBLE[15]
    p = p * t + _TAIL_DOUBLE[16]
    p = p * t + _TAIL_DOUBLE[17]
    p = p * t + _TAIL_DOUBLE[18]
    p = p * t + _TAIL_DOUBLE[19]
    p = p * t + _TAIL_DOUBLE[20]
    p = p * t + _TAIL_DOUBLE[21]
    p = p * t + _TAIL_DOUBLE[22]
    tail = exp(-_CONSTANTS_DOUBLE[1] * size * size) * t * p
    return _CONSTANTS_DOUBLE[2] - tail if x > _CONSTANTS_DOUBLE[0] else tail


_exp_parts = by_precision(_exp_parts_single, _exp_parts_double)
exp = by_precision(exp_single, exp_double)
expm1 = by_precision(expm1_single, expm1_double)
tanh = by_precision(tanh_single, tanh_double)
logistic = by_precision(logistic_single, logistic_double)
log = by_precision(log_single, log_double)
log1p = by_precision(log1p_single, log1p_double)
normal_pdf = by_precision(normal_pdf_single, normal_pdf_double)
normal_cdf = by_precision(normal_cdf_single, normal_cdf_double)
