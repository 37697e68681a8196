"""Writes ONNX: as much of the protocol-buffer format as it takes to put nodes around a graph that is there.

What is there is carried over byte for byte. Field numbers are those of onnx.proto
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto); see ``rtsep.engine.compiled.onnx_file``, which reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rtsep.engine.compiled.onnx_file import read_varint

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}
_TYPES = {"float32": 1, "int64": 7}  # TensorProto.DataType
_INT, _TENSOR = 2, 4  # AttributeProto.AttributeType
# Fields
MODEL_GRAPH, MODEL_METADATA = 7, 14
GRAPH_NODE, GRAPH_INPUT, GRAPH_OUTPUT = 1, 11, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_ATTRIBUTE, _ATTRIBUTE_GRAPH = 1, 2, 5, 6


def varint(value: int) -> bytes:
    """A whole number from 0 up."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def field(number: int, value: bytes | str | int) -> bytes:
    """One field of a message: text, bytes of a message, or a whole number from 0 up."""
    if isinstance(value, int):
        return varint(number << 3 | _VARINT) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | _BYTES) + varint(len(data)) + data


def fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Number, content, and the whole of each field of a message, in order; the content of numbers is empty."""
    at = 0
    while at < len(message):
        begin = at
        key, at = read_varint(message, at)
        kind, content = key & 7, b""
        if kind == _BYTES:
            length, at = read_varint(message, at)
            content, at = message[at : at + length], at + length
        elif kind == _VARINT:
            _, at = read_varint(message, at)
        else:
            at += _SIZES[kind]
        yield key >> 3, content, message[begin:at]


def node(operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: int) -> bytes:
    """A node of the graph, of ONNX's own operators; without a name, as no two may have the same."""
    names = [*(field(_NODE_INPUT, name) for name in inputs), *(field(_NODE_OUTPUT, name) for name in outputs)]
    given = [
        field(_NODE_ATTRIBUTE, field(1, name) + field(3, value) + field(20, _INT)) for name, value in attributes.items()
    ]
    return field(GRAPH_NODE, b"".join([*names, field(4, operator), *given]))


def constant(name: str, values: ArrayLike, dtype: Any) -> bytes:
    """A node that puts out ``values``: no weight of the graph, whose digest stays what it was."""
    array = np.asarray(values, np.dtype(dtype).newbyteorder("<"))
    shape = b"".join(field(1, size) for size in array.shape)
    tensor = shape + field(2, _TYPES[np.dtype(dtype).name]) + field(9, array.tobytes())
    attribute = field(1, "value") + field(5, tensor) + field(20, _TENSOR)
    return field(GRAPH_NODE, field(_NODE_OUTPUT, name) + field(4, "Constant") + field(_NODE_ATTRIBUTE, attribute))


def value(number: int, name: str, shape: Sequence[int]) -> bytes:
    """An input or output (``number``: GRAPH_INPUT or GRAPH_OUTPUT) of float32."""
    dims = b"".join(field(1, field(1, size)) for size in shape)
    tensor = field(1, _TYPES["float32"]) + field(2, dims)
    return field(number, field(1, name) + field(2, field(1, tensor)))


def metadata(values: Mapping[str, str]) -> bytes:
    """Entries of a model's metadata."""
    return b"".join(field(MODEL_METADATA, field(1, key) + field(2, text)) for key, text in values.items())


def renamed(node: bytes, names: Mapping[str, str]) -> bytes:
    """The content of a node whose inputs and outputs have other names, also in graphs inside it."""
    found = []
    for number, content, whole in fields(node):
        if number in (_NODE_INPUT, _NODE_OUTPUT):
            whole = field(number, names.get(content.decode(), content.decode()))
        elif number == _NODE_ATTRIBUTE:
            whole = field(number, _renamed_attribute(content, names))
        found.append(whole)
    return b"".join(found)


def _renamed_attribute(attribute: bytes, names: Mapping[str, str]) -> bytes:
    found = []
    for number, content, whole in fields(attribute):
        if number == _ATTRIBUTE_GRAPH:
            inside = [
                field(GRAPH_NODE, renamed(part, names)) if kind == GRAPH_NODE else kept
                for kind, part, kept in fields(content)
            ]
            whole = field(number, b"".join(inside))
        found.append(whole)
    return b"".join(found)
