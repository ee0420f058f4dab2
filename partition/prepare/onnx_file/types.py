"""Names of ONNX types: numpy's for tensors, ONNX's own for what is none."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

UNDEFINED = "undefined"
"""Of a tensor of which the file says nothing."""


def type_name(kind: onnx.TypeProto) -> str:
    """`float32` of a tensor, `sequence`, `map` and the like of others."""
    which = kind.WhichOneof("value")
    if which == "tensor_type":
        elem_type = kind.tensor_type.elem_type
        if elem_type == TensorProto.STRING:
            return "string"
        if elem_type not in TensorProto.DataType.values() or elem_type == TensorProto.UNDEFINED:
            return UNDEFINED
        return str(helper.tensor_dtype_to_np_dtype(elem_type))
    return UNDEFINED if which is None else which.removesuffix("_type").replace("_", " ")
