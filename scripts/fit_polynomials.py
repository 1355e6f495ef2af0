"""Fit the polynomials of ``fastmlp/kernels/math.py`` and print their coefficients and errors.

Needs mpmath. Each function is reduced to a short interval, where a Chebyshev fit (nearly the
minimax polynomial) is converted to powers. Highest power first, as Horner's rule takes them.
"""

from __future__ import annotations

from collections.abc import Callable

from mpmath import chebyfit, erfc, exp, linspace, log, mp, mpf, polyval, sqrt

mp.dps = 40
Function = Callable[[mpf], mpf]

HALF_LN2 = log(2) / 2
LARGEST_S = (sqrt(mpf(2)) - 1) / (sqrt(mpf(2)) + 1)
TAIL_SCALE = mpf("0.3")


def exp_remainder(r: mpf) -> mpf:
    """Return (e^r - 1 - r) / r^2."""
    return mpf("0.5") + r / 6 if abs(r) < mpf("1e-12") else (exp(r) - 1 - r) / r**2


def log_remainder(w: mpf) -> mpf:
    """Return (log((1+s)/(1-s)) - 2s) / s^3 as a function of w = s^2."""
    s = sqrt(w)
    return mpf(2) / 3 + 2 * w / 5 if s < mpf("1e-10") else (log((1 + s) / (1 - s)) - 2 * s) / s**3


def normal_tail(t: mpf) -> mpf:
    """Return P(N < -x) e^(x^2/2) / t, where t = 1 / (1 + 0.3 x)."""
    x = (1 / t - 1) / TAIL_SCALE
    return erfc(x / sqrt(2)) / 2 * exp(x * x / 2) / t


def report(name: str, function: Function, low: mpf, high: mpf, count: int) -> None:
    """Fit, then print the coefficients and the largest relative error of the fitted part."""
    coefficients = chebyfit(function, [low, high], count)
    points = linspace(low, high, 401)
    error = max(abs(polyval(coefficients, x) / function(x) - 1) for x in points)
    print(f"{name}: largest relative error {float(error):.1e}")
    for coefficient in coefficients:
        print(f"    {float(coefficient)!r},")


if __name__ == "__main__":
    for precision, terms in (("single", (5, 3, 10)), ("double", (10, 7, 23))):
        report(f"exp, {precision}", exp_remainder, -HALF_LN2, HALF_LN2, terms[0])
        report(f"log, {precision}", log_remainder, mpf(0), LARGEST_S**2, terms[1])
        farthest = mpf("13.3") if precision == "single" else mpf(38)
        report(
            f"normal tail, {precision}",
            normal_tail,
            1 / (1 + TAIL_SCALE * farthest),
            mpf(1),
            terms[2],
        )
