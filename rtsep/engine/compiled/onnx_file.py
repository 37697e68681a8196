"""Reads ONNX files: as much of the protocol-buffer format as a model takes that stands in one file.

Rtsep does not depend on package `onnx`, which is for building graphs and costs more to install than all of rtsep.
Field numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Fields = dict[int, list[Any]]

# TensorProto.DataType: what a step graph is made of
DTYPES: dict[int, Any] = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float16, 11: np.float64}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DAMAGE = (IndexError, KeyError, ValueError, TypeError, struct.error, OverflowError)  # what reading it raises


class OnnxError(ValueError):
    """The bytes are no ONNX graph, or one with parts that are not read here; says which in one sentence."""


@dataclass
class Value:
    """An input or output of a graph, with the fields that `ModelSpec.parse` reads."""

    name: str
    shape: list[int]
    type: str


@dataclass
class Node:
    """One operator: names of what it takes ("" for an input left out) and what it makes."""

    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)  # int, float, str, array, Graph, or list of int or float


@dataclass
class Graph:
    """Nodes in an order in which they can run; branches of an `If` take names from the graph around them."""

    nodes: list[Node]
    initialisers: dict[str, NDArray[Any]]
    inputs: list[Value]
    outputs: list[Value]


@dataclass
class OnnxFile:
    """A model: its graph, its metadata, and the version of the operators."""

    graph: Graph
    metadata: dict[str, str]
    opset: int  # version of ONNX's own operators


def read(data: bytes) -> OnnxFile:
    """The model in `data`. Raises OnnxError."""
    try:
        model = _fields(memoryview(data))
        opsets = [_fields(item) for item in model.get(8, [])]
        versions = [_signed(item[2][0]) for item in opsets if not _text(item.get(1))]
        return OnnxFile(_graph(model[7][0]), _metadata(model), max(versions))
    except OnnxError:
        raise
    except _DAMAGE as error:
        raise OnnxError(f"The file is no ONNX model that can be read here ({error}).") from None


def read_metadata(data: bytes) -> dict[str, str]:
    """Only the metadata of the model in `data`. Raises OnnxError."""
    try:
        return _metadata(_fields(memoryview(data)))
    except OnnxError:
        raise
    except _DAMAGE as error:
        raise OnnxError(f"The file is no ONNX model that can be read here ({error}).") from None


def _metadata(model: Fields) -> dict[str, str]:
    return dict(_entry(entry) for entry in model.get(14, []))


def _fields(data: memoryview) -> Fields:
    """All fields of a message by number; nested messages and texts stay bytes."""
    found: Fields = {}
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        number, kind = key >> 3, key & 7
        value: Any
        if kind == _VARINT:
            value, at = read_varint(data, at)
        elif kind == _BYTES:
            length, at = read_varint(data, at)
            if at + length > len(data):
                raise OnnxError("The file is cut short.")
            value, at = data[at : at + length], at + length
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
            value, at = data[at : at + size], at + size
        else:
            raise OnnxError("The file is no ONNX model.")
        found.setdefault(number, []).append(value)
    return found


def read_varint(data: memoryview | bytes, at: int) -> tuple[int, int]:
    """A number of protobuf's variable length that begins at byte `at`, and the place behind it."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _text(values: list[Any] | None) -> str:
    return bytes(values[0]).decode() if values else ""


def _entry(data: memoryview) -> tuple[str, str]:
    fields = _fields(data)
    return _text(fields.get(1)), _text(fields.get(2))


def _integers(values: list[Any]) -> list[int]:
    """Repeated integers, packed or not."""
    return [_signed(number) for value in values for number in ([value] if isinstance(value, int) else _packed(value))]


def _packed(data: memoryview) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = read_varint(data, at)
        yield value


def _floats(values: list[Any], kind: str = "f") -> list[float]:
    """Repeated numbers of 4 bytes (kind f) or 8 (kind d), packed or not."""
    data = b"".join(values)
    return list(struct.unpack(f"<{len(data) // struct.calcsize(kind)}{kind}", data))


def _tensor(data: memoryview) -> tuple[str, NDArray[Any]]:
    fields = _fields(data)
    name, kind = _text(fields.get(8)), fields[2][0]
    if kind not in DTYPES or fields.get(14, [0])[0]:  # data_location: in a file of its own
        raise OnnxError(f"Tensor {name} is of a kind (number {kind}) that is not read here.")
    dtype, shape = np.dtype(DTYPES[kind]), _integers(fields.get(1, []))
    if 9 in fields:
        values = np.frombuffer(bytes(fields[9][0]), dtype.newbyteorder("<")).astype(dtype)
    elif 4 in fields:
        values = np.array(_floats(fields[4]), dtype)
    elif 10 in fields:
        values = np.array(_floats(fields[10], "d"), dtype)
    elif kind == 10:  # bits of float16
        values = np.array(_integers(fields.get(5, [])), np.uint16).view(dtype)
    else:
        values = np.array(_integers(fields.get(7, fields.get(5, []))), dtype)
    return name, values.reshape(shape)


def _attribute(data: memoryview) -> tuple[str, Any]:
    fields = _fields(data)
    name, kind = _text(fields.get(1)), fields[20][0]
    readers: dict[int, Any] = {
        1: lambda: struct.unpack("<f", fields[2][0])[0],
        2: lambda: _signed(fields[3][0]) if 3 in fields else 0,
        3: lambda: _text(fields.get(4)),
        4: lambda: _tensor(fields[5][0])[1],
        5: lambda: _graph(fields[6][0]),
        6: lambda: _floats(fields.get(7, [])),
        7: lambda: _integers(fields.get(8, [])),
    }
    if kind not in readers:
        raise OnnxError(f"Attribute {name} is of a kind (number {kind}) that is not read here.")
    return name, readers[kind]()


def _node(data: memoryview) -> Node:
    fields = _fields(data)
    if domain := _text(fields.get(7)):
        raise OnnxError(f"Operator {_text(fields.get(4))} of domain {domain} is not read here.")
    taken, made = ([bytes(name).decode() for name in fields.get(number, [])] for number in (1, 2))
    return Node(_text(fields.get(4)), taken, made, dict(_attribute(item) for item in fields.get(5, [])))


def _value(data: memoryview) -> Value:
    fields = _fields(data)
    tensor = _fields(_fields(fields[2][0])[1][0]) if 2 in fields else {}
    dims = [_fields(dim) for dim in _fields(tensor[2][0]).get(1, [])] if 2 in tensor else []
    names = {1: "float", 6: "int32", 7: "int64", 9: "bool", 11: "double"}  # as onnxruntime says them
    kind = names.get(tensor.get(1, [0])[0], "of another kind")
    return Value(_text(fields.get(1)), [_signed(dim[1][0]) if 1 in dim else -1 for dim in dims], f"tensor({kind})")


def _graph(data: memoryview) -> Graph:
    fields = _fields(data)
    return Graph(
        [_node(item) for item in fields.get(1, [])],
        dict(_tensor(item) for item in fields.get(5, [])),
        [_value(item) for item in fields.get(11, [])],
        [_value(item) for item in fields.get(12, [])],
    )
