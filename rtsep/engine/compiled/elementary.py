"""Elementary functions of one float32, written so that LLVM makes vectors of the loops that call them."""

from __future__ import annotations

from functools import partial

import numpy as np
from numba import float32, njit

from rtsep.engine.compiled.memory import exponent_of, mantissa_of, power_of_two

FUSED = {"contract"}
compiled = partial(njit, error_model="numpy")  # not cached: `native_function` keeps what has them within


@compiled(float32(float32), fastmath=FUSED)
def exponential(x):
    """e^x within two units in the last place, never a denormal; the polynomial of Cephes' expf."""
    inside = np.float32(-87.3)
    if x > inside:
        inside = x
    if inside > np.float32(88.37):
        inside = np.float32(88.37)
    n = np.floor(inside * np.float32(1.44269504) + np.float32(0.5))
    r = inside - n * np.float32(0.693359375)
    r = r - n * np.float32(-2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * (r * r) + (r + np.float32(1.0))
    p = p * power_of_two(n)
    return p if x == x else x


@compiled(float32(float32), fastmath=FUSED)
def logarithm(x):
    """The natural logarithm; below the smallest normal value that of 0; the polynomial of Cephes' logf."""
    e, m = exponent_of(x), mantissa_of(x)
    low = m < np.float32(0.70710678)
    e = e - np.float32(1.0) if low else e
    m = m + m - np.float32(1.0) if low else m - np.float32(1.0)
    z = m * m
    p = np.float32(7.0376836292e-2)
    p = p * m + np.float32(-1.1514610310e-1)
    p = p * m + np.float32(1.1676998740e-1)
    p = p * m + np.float32(-1.2420140846e-1)
    p = p * m + np.float32(1.4249322787e-1)
    p = p * m + np.float32(-1.6668057665e-1)
    p = p * m + np.float32(2.0000714765e-1)
    p = p * m + np.float32(-2.4999993993e-1)
    p = p * m + np.float32(3.3333331174e-1)
    y = p * m * z
    y = y + e * np.float32(-2.12194440e-4)
    y = y - np.float32(0.5) * z
    y = m + y + e * np.float32(0.693359375)
    if x < np.float32(1.17549435e-38):
        y = np.float32(-np.inf) if x >= np.float32(0.0) else np.float32(np.nan)
    return y if x < np.float32(np.inf) else x


@compiled(float32(float32), fastmath=FUSED)
def sigmoid(x):
    """1 / (1 + e^-x)."""
    return np.float32(1.0) / (np.float32(1.0) + exponential(-x))


@compiled(float32(float32), fastmath=FUSED)
def tangent(x):
    """The hyperbolic tangent, within 1e-7; 0 of 0."""
    return np.float32(1.0) - np.float32(2.0) / (np.float32(1.0) + exponential(x + x))
