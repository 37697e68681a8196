"""Operators of ONNX in numpy, one function each: what folds constants, what makes views, what kernels are tested by.

Each takes the inputs in ONNX's order (None for one left out) and the attributes, and returns its outputs as a tuple.
Those in `VIEWS` move nothing where numpy need not: what they return is a view of their first input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Operator = Callable[..., tuple[Any, ...]]


def slice_(x: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> tuple[Any, ...]:
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    cut: list[slice] = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size, begin, stop = x.shape[axis], int(start), int(end)
        if step < 0 and stop < -size:  # before the first: a slice of python has no number for it
            cut[axis] = slice(begin, None, int(step))
        else:
            cut[axis] = slice(begin, stop, int(step))
    return (x[tuple(cut)],)


def split(x: Any, sizes: Any = None, axis: int = 0, num_outputs: int = 0) -> tuple[Any, ...]:
    if sizes is None:
        return tuple(np.array_split(x, num_outputs, axis))
    return tuple(np.split(x, np.cumsum(sizes)[:-1], axis))


def gather(x: Any, indices: Any, axis: int = 0) -> tuple[Any, ...]:
    if np.ndim(indices) == 0:
        return (x[(*(slice(None),) * (axis % x.ndim), int(indices), ...)],)  # an array, even of no axis
    return (np.take(x, indices, axis),)


def reshape(x: Any, shape: Any, allowzero: int = 0) -> tuple[Any, ...]:
    sizes = [x.shape[i] if size == 0 and not allowzero else int(size) for i, size in enumerate(shape)]
    return (x.reshape(sizes),)


def squeeze(x: Any, axes: Any = None) -> tuple[Any, ...]:
    return (np.squeeze(x, None if axes is None else tuple(int(axis) for axis in axes)),)


def unsqueeze(x: Any, axes: Any) -> tuple[Any, ...]:
    return (np.expand_dims(x, tuple(int(axis) for axis in axes)),)


def transpose(x: Any, perm: Any = None) -> tuple[Any, ...]:
    return (np.transpose(x, perm),)


def expand(x: Any, shape: Any) -> tuple[Any, ...]:
    return (np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape))),)


def identity(x: Any) -> tuple[Any, ...]:
    return (x,)


def flatten(x: Any, axis: int = 1) -> tuple[Any, ...]:
    return (x.reshape(int(np.prod(x.shape[:axis])), -1),)


VIEWS: dict[str, Operator] = {
    "Slice": slice_,
    "Split": split,
    "Gather": gather,
    "Reshape": reshape,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Transpose": transpose,
    "Expand": expand,
    "Identity": identity,
    "Flatten": flatten,
}


def concat(*parts: Any, axis: int) -> tuple[Any, ...]:
    return (np.concatenate(parts, axis),)


def gemm(
    a: Any, b: Any, c: Any = None, alpha: float = 1.0, beta: float = 1.0, transA: int = 0, transB: int = 0
) -> tuple[Any, ...]:
    product = alpha * ((a.T if transA else a) @ (b.T if transB else b))
    return (product if c is None else product + beta * c,)


def reduce_sum(x: Any, axes: Any = None, keepdims: int = 1, noop_with_empty_axes: int = 0) -> tuple[Any, ...]:
    if axes is None and noop_with_empty_axes:
        return (x,)
    return (np.sum(x, None if axes is None else tuple(int(axis) for axis in axes), keepdims=bool(keepdims)),)


def layer_normalization(
    x: Any, gain: Any, offset: Any = None, axis: int = -1, epsilon: float = 1e-5
) -> tuple[Any, ...]:
    axes = tuple(range(axis % x.ndim, x.ndim))
    mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    scaled = (x - mean) / np.sqrt(variance + epsilon) * gain
    return (scaled if offset is None else scaled + offset,)


def prelu(x: Any, slope: Any) -> tuple[Any, ...]:
    return (np.where(x >= 0, x, x * slope),)


def mod(a: Any, b: Any, fmod: int = 0) -> tuple[Any, ...]:
    return (np.fmod(a, b) if fmod else np.mod(a, b),)


def divide(a: Any, b: Any) -> tuple[Any, ...]:
    if np.issubdtype(np.asarray(a).dtype, np.integer):  # towards zero
        return ((np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))).astype(a.dtype),)
    return (a / b,)


def constant(**attributes: Any) -> tuple[Any, ...]:
    (name, value), *_ = attributes.items()
    kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    return (value if name == "value" else np.array(value, kinds[name]),)


def constant_of_shape(shape: Any, value: Any = None) -> tuple[Any, ...]:
    value = np.zeros(1, np.float32) if value is None else value
    return (np.full(tuple(int(size) for size in shape), value[0]),)


def cast(x: Any, to: int, saturate: int = 1) -> tuple[Any, ...]:
    from rtsep.engine.compiled.onnx_file import DTYPES

    return (np.asarray(x).astype(DTYPES[to]),)


def clip(x: Any, low: Any = None, high: Any = None) -> tuple[Any, ...]:
    x = x if low is None else np.maximum(x, low)
    return (x if high is None else np.minimum(x, high),)


def argmax(x: Any, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> tuple[Any, ...]:
    if select_last_index:
        return (x.shape[axis] - 1 - np.argmax(np.flip(x, axis), axis, keepdims=bool(keepdims)),)
    return (np.argmax(x, axis, keepdims=bool(keepdims)),)


def is_correlation(x: Any, weights: Any, bias: Any = None, **attributes: Any) -> bool:
    """Whether a Conv is what `conv` does."""
    plain = {"strides": [1], "dilations": [1], "pads": [0, 0], "group": 1, "auto_pad": "NOTSET"}
    plain["kernel_shape"] = list(weights.shape[2:])
    lines = all(value.ndim == 3 and value.shape[:2] == (1, 1) for value in (x, weights))
    fits = lines and 0 < weights.size <= x.size
    return fits and bias is None and all(value == plain.get(name) for name, value in attributes.items())


def conv(x: Any, weights: Any, bias: Any = None, **attributes: Any) -> tuple[Any, ...]:
    """Of one channel, one axis and nothing else: y[l] = the sum of x[l + n] w[n]."""
    if not is_correlation(x, weights, bias, **attributes):
        raise ValueError("operator Conv has more than one channel, or bias, padding, stride or dilation")
    return (np.correlate(x[0, 0], weights[0, 0], "valid").reshape(1, 1, -1),)


def sigmoid(x: Any) -> tuple[Any, ...]:
    return (0.5 * (1 + np.tanh(0.5 * x)),)  # without overflow


UNARY: dict[str, Operator] = {
    "Sigmoid": sigmoid,
    "Tanh": lambda x: (np.tanh(x),),
    "Log": lambda x: (np.log(x),),
    "Exp": lambda x: (np.exp(x),),
    "Sqrt": lambda x: (np.sqrt(x),),
    "Reciprocal": lambda x: (1 / x,),
    "Neg": lambda x: (-x,),
    "Relu": lambda x: (np.maximum(x, 0),),
    "Abs": lambda x: (np.abs(x),),
    "Round": lambda x: (np.rint(x),),
}
BINARY: dict[str, Operator] = {
    "Add": lambda a, b: (a + b,),
    "Sub": lambda a, b: (a - b,),
    "Mul": lambda a, b: (a * b,),
    "Div": divide,
    "PRelu": prelu,
    "Max": lambda a, b: (np.maximum(a, b),),
    "Min": lambda a, b: (np.minimum(a, b),),
}
OPERATORS: dict[str, Operator] = {
    **VIEWS,
    **UNARY,
    **BINARY,
    "Concat": concat,
    "Gemm": gemm,
    "MatMul": lambda a, b: (a @ b,),
    "ReduceSum": reduce_sum,
    "LayerNormalization": layer_normalization,
    "Mod": mod,
    "Shape": lambda x: (np.array(np.shape(x), np.int64),),
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "Cast": cast,
    "Clip": clip,
    "ArgMax": argmax,
    "Conv": conv,
    "Equal": lambda a, b: (np.equal(a, b),),
    "Where": lambda c, a, b: (np.where(c, a, b),),
}
