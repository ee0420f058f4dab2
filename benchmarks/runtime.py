"""Speed and size of the run-time, next to others that can be installed.

python -m benchmarks.runtime [--openvino SITE_PACKAGES] [--rounds N]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import transformers as hf

from partition.model.folder import ModelFolder
from partition.model.machine import describe_machine
from partition.model.network_files import GRAPH_FILE
from partition.model.runtime import SplitRuntime, random_inputs
from partition.prepare import zoo
from partition.prepare.build import prepare

RESULT = Path("results/runtime.md")
WARM_UP_ROUNDS = 5
EDGE_SCRIPT = """
import json, re, sys
from partition.model.folder import ModelFolder
from partition.model.runtime import SplitRuntime, random_inputs
folder = ModelFolder.open(sys.argv[1])
runtime = SplitRuntime(folder, 1)
for _ in range(3):
    runtime.head(folder.cuts[int(sys.argv[2])], random_inputs(folder))
# ru_maxrss would be that of the parent, if it was larger.
status = open("/proc/self/status").read()
peak_kb = int(re.search(r"VmHWM:\\s+(\\d+)", status)[1])
print(json.dumps([peak_kb * 1024, runtime.held_param_bytes]))
"""


def resnet18() -> tuple[torch.nn.Module, Any]:
    config = hf.ResNetConfig(
        embedding_size=64,
        hidden_sizes=[64, 128, 256, 512],
        depths=[2, 2, 2, 2],
        layer_type="basic",
        num_labels=1000,
    )
    return hf.ResNetForImageClassification(config), torch.rand(1, 3, 224, 224)


def vit(hidden: int, layers: int, heads: int) -> tuple[torch.nn.Module, Any]:
    config = hf.ViTConfig(
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * hidden,
        num_labels=1000,
    )
    return hf.ViTForImageClassification(config), torch.rand(1, 3, 224, 224)


SOURCES = {
    "efficientnet-lite0": zoo.resolve("efficientnet-lite0"),
    "resnet-18": zoo.Source("resnet-18", resnet18),
    "vit-small": zoo.Source("vit-small", lambda: vit(384, 12, 6)),
}
EDGE_ONLY = {"vit-base": zoo.Source("vit-base", lambda: vit(768, 12, 12))}


def cpu_s(function: Callable[[], Any]) -> float:
    """Processor time of one call: other programs of the machine do not count."""
    start_s = time.process_time()
    function()
    return time.process_time() - start_s


def interleaved(functions: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    samples: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds + WARM_UP_ROUNDS):
        for name, function in functions.items():
            samples[name].append(cpu_s(function))
    return {name: statistics.median(each[WARM_UP_ROUNDS:]) for name, each in samples.items()}


def rivals(
    name: str, folder: ModelFolder, openvino: str | None
) -> tuple[dict[str, Callable[[], Any]], list[str]]:
    """The unsplit network in every run-time that is there."""
    torch.manual_seed(0)
    network, _ = SOURCES[name].load()
    network.eval()
    runtime = SplitRuntime(folder, 1)
    inputs = random_inputs(folder)
    image = torch.from_numpy(inputs[0])
    last = copy_channels_last(network)
    chosen: dict[str, Callable[[], Any]] = {
        "ONNX Runtime": lambda: runtime.whole(inputs),
        "torch": torch.inference_mode()(lambda: network(image)),
        "torch channels_last": torch.inference_mode()(
            lambda: last(image.contiguous(memory_format=torch.channels_last))
        ),
    }
    missing = []
    try:
        compiled = torch.compile(network)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            with torch.inference_mode():
                compiled(image)
        chosen["torch.compile"] = torch.inference_mode()(lambda: compiled(image))
    except Exception as error:
        missing.append(f"torch.compile ({str(error).splitlines()[0][:80]})")
    if openvino:
        sys.path.append(openvino)
    try:
        import openvino as ov
    except ModuleNotFoundError:
        missing.append("OpenVINO (not installed)")
        return chosen, missing
    core = ov.Core()
    model = core.read_model(folder.path / GRAPH_FILE)
    model.reshape([1, *folder.input_shape[1:]])
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    request.infer([inputs[0]])
    difference = np.abs(request.get_output_tensor(0).data - runtime.whole(inputs)[0]).max()
    assert difference < 1e-2, difference
    chosen["OpenVINO"] = lambda: request.infer([inputs[0]])
    return chosen, missing


def copy_channels_last(network: torch.nn.Module) -> torch.nn.Module:
    import copy

    return copy.deepcopy(network).to(memory_format=torch.channels_last)


def options_table(folder: ModelFolder, rounds: int) -> dict[str, float]:
    """The unsplit network under other settings of ONNX Runtime."""
    import onnxruntime as ort

    model = onnx.load(folder.path / GRAPH_FILE)
    inputs = dict(zip((s.name for s in folder.inputs), random_inputs(folder), strict=True))

    def session(change: Callable[[ort.SessionOptions], Any]) -> Callable[[], Any]:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        change(options)
        loaded = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return lambda: loaded.run(None, inputs)

    entry = ort.SessionOptions.add_session_config_entry
    return interleaved(
        {
            "as used": session(lambda o: None),
            "extended optimisations only": session(
                lambda o: setattr(
                    o,
                    "graph_optimization_level",
                    ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
                )
            ),
            "no memory arena": session(lambda o: setattr(o, "enable_cpu_mem_arena", False)),
            "no memory pattern": session(lambda o: setattr(o, "enable_mem_pattern", False)),
            "no pre-packing": session(lambda o: entry(o, "session.disable_prepacking", "1")),
            "denormals are zero": session(lambda o: entry(o, "session.set_denormal_as_zero", "1")),
        },
        rounds,
    )


def split_ratios(folder: ModelFolder, rounds: int) -> dict[str, float]:
    runtime = SplitRuntime(folder, 1)
    inputs = random_inputs(folder)
    ratios = {}
    for point in folder.split_points[1:-1]:
        seconds = interleaved(
            {
                "whole": lambda: runtime.whole(inputs),
                "split": lambda: runtime.tail(point, runtime.head(point, inputs)),  # noqa: B023
            },
            rounds,
        )
        ratios[point.name] = seconds["split"] / seconds["whole"]
    return ratios


def switch_s(folder: ModelFolder, rounds: int) -> float:
    """What the first head at another warm cut costs over one at the same cut, at worst.

    Caches that hold another head's weights are part of it.
    """
    runtime = SplitRuntime(folder, 1)
    inputs = random_inputs(folder)
    points = folder.split_points[1:]
    worst_s = -math.inf
    for point, other in zip(points, [*points[1:], points[0]], strict=True):
        same, switched = [], []
        for _ in range(rounds + WARM_UP_ROUNDS):
            runtime.head(other, inputs)
            switched.append(cpu_s(lambda: runtime.head(point, inputs)))  # noqa: B023
            same.append(cpu_s(lambda: runtime.head(point, inputs)))  # noqa: B023
        medians = [statistics.median(each[WARM_UP_ROUNDS:]) for each in (switched, same)]
        worst_s = max(worst_s, medians[0] - medians[1])
    return worst_s


def edge_memory(folder: ModelFolder, index: int) -> list[int]:
    """Peak resident memory of a process that runs a head, and the weights it holds."""
    command = [sys.executable, "-c", EDGE_SCRIPT, str(folder.path.resolve()), str(index)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(out)


def main() -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.runtime", description=__doc__)
    parser.add_argument("--openvino", help="site-packages that hold it, if not this environment's")
    parser.add_argument("--rounds", type=int, default=30, help="of each measurement (%(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    machine = describe_machine()
    lines = [
        "# Run-time",
        "",
        "One thread, batch 1, float32, medians of interleaved runs of processor time (the machine",
        "had other work, which then does not count). ResNet-18 and the ViTs have random weights.",
        "",
        f"    {' '.join(['python -m benchmarks.runtime', *sys.argv[1:]])}",
        "",
        f"{machine['processor']}, {machine['cores']} cores, ONNX Runtime {machine['onnxruntime']}, "
        f"torch {torch.__version__}.",
        "",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        for name, source in SOURCES.items():
            torch.manual_seed(0)
            folder = prepare(source, Path(scratch) / name)
            lines += report(name, folder, arguments)
            print("\n".join(lines[-25:]), flush=True)
        lines += [
            "## Memory of the edge side",
            "",
            "| network | cut | peak MB | of it weights MB |",
        ]
        lines.append("|---|---|---|---|")
        folders = [ModelFolder.open(Path(scratch) / "efficientnet-lite0")]
        folders.append(prepare(EDGE_ONLY["vit-base"], Path(scratch) / "vit-base"))
        for folder in folders:
            for index in (len(folder.cuts) // 2, len(folder.cuts) - 1):
                peak, held = edge_memory(folder, index)
                cut = folder.cuts[index].name
                lines.append(f"| {folder.name} | {cut} | {peak / 1e6:.0f} | {held / 1e6:.0f} |")
    RESULT.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    return 0


def report(name: str, folder: ModelFolder, arguments: argparse.Namespace) -> list[str]:
    functions, missing = rivals(name, folder, arguments.openvino)
    seconds = interleaved(functions, arguments.rounds)
    ours = seconds["ONNX Runtime"]
    lines = [f"## {name}", "", "| run-time | ms | ONNX Runtime over it |", "|---|---|---|"]
    lines += [f"| {k} | {s * 1e3:.2f} | {ours / s:.2f} |" for k, s in seconds.items()]
    lines += [f"Not measured: {', '.join(missing)}." if missing else "", ""]
    lines += ["| setting of ONNX Runtime | ms |", "|---|---|"]
    options = options_table(folder, arguments.rounds)
    lines += [f"| {k} | {s * 1e3:.2f} |" for k, s in options.items()]
    ratios = split_ratios(folder, arguments.rounds)
    worst = max(ratios, key=lambda key: ratios[key])
    lines += [
        "",
        f"Head plus tail over the whole: {', '.join(f'{r:.3f}' for r in ratios.values())} at its "
        f"split points; worst {ratios[worst]:.3f} at {worst}. The first head after a "
        f"change of the cut costs at most {switch_s(folder, arguments.rounds) * 1e3:.2f} ms more.",
        "",
    ]
    return lines


if __name__ == "__main__":
    sys.exit(main())
