"""What a network runs on: chosen, found, said, and kept off the standard output."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from partition import engines
from partition.edge.pipeline import SplitPipeline
from partition.errors import ProviderError
from partition.model.runtime import SplitRuntime, random_inputs
from partition.providers import check
from partition.providers.execution import Execution
from partition.providers.quiet import stdout_to_stderr
from partition.providers.registry import CPU, PROVIDERS, parse
from partition.server.cloud_server import CloudServer, ServerLimits
from tests.partition.fake_ort import CUDA, TENSORRT, FakeRuntime


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield
    check._tried.cache_clear()


def test_azure_is_never_a_provider_and_names_are_those_people_know():
    assert {"cpu", "cuda", "tensorrt", "openvino"} <= PROVIDERS.keys()
    assert not any("azure" in p.ort_name.lower() for p in PROVIDERS.values())
    assert [p.name for p in parse("TensorRT, cuda")] == ["tensorrt", "cuda"]


@pytest.mark.parametrize(
    ("text", "told"), [("gpu", "unknown provider 'gpu'"), ("cpu,cpu", "twice")]
)
def test_a_provider_that_is_none_is_refused(text, told):
    with pytest.raises(ProviderError, match=told):
        parse(text)


def test_without_their_libraries_the_processor_runs_the_network_and_that_is_said(
    monkeypatch, tiny, image, caplog, capfd
):
    FakeRuntime(monkeypatch)
    runtime = SplitRuntime(tiny)
    runtime.whole((image,))
    assert runtime.placement == "cpu"
    assert "provider cuda is built into this ONNX Runtime and does not work here" in caplog.text
    caplog.clear()
    SplitRuntime(tiny).whole((image,))
    assert not caplog.text  # once is enough
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("name", ["cuda", "tensorrt", "tensorrt-fp16", "openvino"])
def test_a_provider_that_was_asked_for_and_does_not_run_ends_with_what_is_missing(
    monkeypatch, name
):
    FakeRuntime(monkeypatch)
    with pytest.raises(ProviderError) as raised:
        Execution.choose(parse(name))
    assert f"provider {name} does not run here" in str(raised.value)
    assert PROVIDERS[name].needs in str(raised.value)
    assert "--providers cpu" in str(raised.value)


def test_the_loader_names_the_library_that_is_missing(monkeypatch, tmp_path):
    FakeRuntime(monkeypatch)
    (tmp_path / PROVIDERS["cuda"].library).write_bytes(b"no library")
    monkeypatch.setattr(check, "_FOLDER", tmp_path)
    assert "libonnxruntime_providers_cuda.so" in check.why_not(PROVIDERS["cuda"])


def test_the_best_that_works_is_taken(monkeypatch, tiny, image):
    FakeRuntime(monkeypatch, works={CUDA})
    runtime = SplitRuntime(tiny)
    runtime.whole((image,))
    assert [p.name for p in runtime.execution.providers] == ["cuda", "cpu"]
    assert runtime.placement == "cuda"


def test_one_that_fails_on_a_network_is_left_for_the_next_or_ends_the_command_that_asked(
    monkeypatch, tiny, image, caplog
):
    def out_of_memory(given):
        if CUDA in given and len(given) > 1:
            raise RuntimeError("CUDA failure 2: out of memory")

    FakeRuntime(monkeypatch, works={CUDA}, builds=out_of_memory)
    runtime = SplitRuntime(tiny)
    runtime.whole((image,))
    assert runtime.placement == "cpu"
    assert "out of memory" in caplog.text
    asked = SplitRuntime(tiny, execution=Execution.choose(parse("cuda")))
    with pytest.raises(ProviderError, match=r"cuda does not run here .*out of memory"):
        asked.whole((image,))


def test_one_that_is_left_out_in_silence_is_found_out(monkeypatch, tiny, image):
    fake = FakeRuntime(monkeypatch, works={CUDA})
    asked = SplitRuntime(tiny, execution=Execution.choose(parse("cuda")))
    fake.works -= {CUDA}
    with pytest.raises(ProviderError, match="left it out and made a session of CPU"):
        asked.whole((image,))


def test_nothing_that_a_library_prints_reaches_the_standard_output(monkeypatch, tiny, image, capfd):
    FakeRuntime(monkeypatch, works={CUDA})
    print('{"before": 1}')
    SplitRuntime(tiny).whole((image,))
    print('{"after": 2}')
    out, err = capfd.readouterr()
    assert out.splitlines() == ['{"before": 1}', '{"after": 2}']
    assert "EP says hello" in err


def test_the_standard_output_is_given_back_by_the_last_of_several_threads(capfd):
    inside, leave = threading.Barrier(2, timeout=5), threading.Event()

    def hold():
        with stdout_to_stderr():
            inside.wait()
            leave.wait(5)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    with stdout_to_stderr():
        os.write(1, b"one\n")
    os.write(1, b"two\n")  # the other thread still loads
    leave.set()
    thread.join()
    os.write(1, b"three\n")
    assert capfd.readouterr() == ("three\n", "one\ntwo\n")


def test_tensorrt_is_told_the_batches_and_where_to_keep_its_engines(monkeypatch, tiny, tmp_path):
    fake = FakeRuntime(monkeypatch, works={TENSORRT, CUDA})
    execution = Execution.choose(parse("tensorrt-fp16,cuda"), memory_bytes=10**9, max_batch=16)
    with CloudServer(tiny, execution=execution, limits=ServerLimits(max_batch=16)):
        made = [given for given in fake.options if given.get(TENSORRT)]
    options = made[0][TENSORRT]
    (spec,) = tiny.inputs
    shape = "x".join(map(str, spec.shape[1:]))
    assert options["trt_profile_min_shapes"] == f"{spec.name}:1x{shape}"
    assert options["trt_profile_opt_shapes"] == f"{spec.name}:1x{shape}"
    assert options["trt_profile_max_shapes"] == f"{spec.name}:16x{shape}"
    assert options["trt_fp16_enable"] == "1"
    assert options["trt_engine_cache_enable"] == options["trt_timing_cache_enable"] == "1"
    assert tiny.fingerprint in options["trt_engine_cache_path"]
    assert options["trt_engine_cache_path"].startswith(str(tmp_path / "cache"))
    assert options["trt_max_workspace_size"] == made[0][CUDA]["gpu_mem_limit"] == str(10**9)
    assert made[0][CUDA]["arena_extend_strategy"] == "kSameAsRequested"


def test_a_server_warms_up_with_one_and_with_the_largest_batch_where_that_is_compiled(
    monkeypatch, tiny
):
    class Seen(SplitRuntime):
        def tail(self, point, tensors):
            batches.add(len(tensors[0]))
            return super().tail(point, tensors)

    batches = set()
    FakeRuntime(monkeypatch, works={CUDA})
    for name, expected in (("cuda", {1, 8}), ("cpu", {1})):
        batches.clear()
        execution = Execution.choose(parse(name), max_batch=8)
        with CloudServer(tiny, Seen(tiny, execution=execution)):
            assert batches == expected


def test_a_range_that_tensorrt_cannot_take_is_left_to_the_warm_up(monkeypatch, tiny, image):
    def refuse_ranges(given):
        if "trt_profile_min_shapes" in given.get(TENSORRT, {}):
            raise RuntimeError("User needs to provide all the dynamic shape inputs")

    fake = FakeRuntime(monkeypatch, works={TENSORRT}, builds=refuse_ranges)
    runtime = SplitRuntime(tiny, execution=Execution.choose(parse("tensorrt")))
    runtime.whole((image,))
    assert runtime.placement == "tensorrt"
    assert fake.options[-1][TENSORRT]["trt_engine_cache_enable"] == "1"


def test_a_part_that_is_being_built_keeps_nobody_from_the_others(monkeypatch, tiny):
    slow, go = threading.Event(), threading.Event()

    def build(given):
        if CUDA in given and threading.current_thread().name == "builder":
            slow.set()
            go.wait(10)

    FakeRuntime(monkeypatch, works={CUDA}, builds=build)
    runtime = SplitRuntime(tiny)
    inputs = random_inputs(tiny)
    builder = threading.Thread(target=runtime.whole, args=(inputs,), name="builder")
    builder.start()
    assert slow.wait(5)
    runtime.head(tiny.split_points[1], inputs)
    assert builder.is_alive()
    go.set()
    builder.join(5)


def test_where_parts_fall_to_the_processor_is_counted(monkeypatch, tiny, image):
    FakeRuntime(monkeypatch, works={CUDA}, n_elsewhere=3)
    runtime = SplitRuntime(tiny)
    runtime.whole((image,))
    assert runtime.placement == "cuda, 3 of 12 operators on the processor"
    assert not runtime.is_on_processor
    FakeRuntime(monkeypatch, works={CUDA}, n_elsewhere=12)
    idle = SplitRuntime(tiny)
    idle.whole((image,))
    assert idle.is_on_processor


def test_engines_are_built_ahead_a_line_each(monkeypatch, tiny, caplog):
    fake = FakeRuntime(monkeypatch, works={TENSORRT})
    engines.build(tiny, "edge", Execution.choose(parse("tensorrt")))
    built = [given for given in fake.options if given.get(TENSORRT)]
    assert len(built) >= len(tiny.split_points)
    assert f"1 of {len(tiny.routes)} (input)" in caplog.text
    n_built = len(fake.options)
    pipeline = SplitPipeline(
        tiny, SplitRuntime(tiny, execution=Execution.choose(parse("tensorrt")))
    )
    pipeline.warm_up()
    # What a board loads at its start is what was built.
    assert fake.options[n_built:] == built
    with pytest.raises(ProviderError, match=r"compiles nothing.*tensorrt"):
        engines.build(tiny, "edge", Execution())


def test_the_command_refuses_what_does_not_run(run_module, tiny):
    result = run_module("partition.engines", "--model", tiny.path, "--providers", "tensorrt")
    assert result.returncode == 2
    assert "error: provider tensorrt does not run here" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_server_says_what_it_runs_on(tiny):
    with CloudServer(tiny, execution=Execution(providers=(CPU,))) as server:
        assert server.placement(tiny) == "cpu"


def test_the_processor_gives_the_same_numbers_whoever_asks(tiny, image):
    asked = SplitRuntime(tiny, execution=Execution.choose(parse("cpu")))
    np.testing.assert_array_equal(asked.whole((image,))[0], SplitRuntime(tiny).whole((image,))[0])
