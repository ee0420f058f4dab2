from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("scipy", reason="needs the extra calibrate")

from hw.calibrate import __main__ as command
from hw.calibrate import sources
from hw.calibrate.boards import device_toml, read_table
from hw.calibrate.measured import tables
from hw.calibrate.measured.refit import MEASURED, refit
from hw.calibrate.report import BarRow, CalibrationReport
from hw.device.file import device_path
from hw.device.model import DeviceModel

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"the measured data is not beside the repository ({DATA})"
)


@pytest.fixture(scope="module")
def report():
    return command.calibrate(DATA)


@pytest.fixture(scope="module")
def fits():
    return refit(DATA)


@pytest.fixture
def data(tmp_path):
    """A copy of the data that may be spoilt."""
    folder = tmp_path / "data"
    folder.mkdir()
    names = (sources.TENSORRT, sources.VGG19_POWER, sources.FLEXIBO, sources.UNICORN)
    for name in (*names, *tables.ALL):
        shutil.copy(DATA / name, folder / name)
    return folder


def error_of(report, beginning):
    rows = [row for row in report.rows if row.source.startswith(beginning)]
    assert rows
    return max(row.error for row in rows)


def numbers(value):
    """All numbers of a nested structure, by path."""
    if isinstance(value, dict):
        return {
            f"{key}.{rest}": number
            for key, child in value.items()
            for rest, number in numbers(child).items()
        }
    return {"": value} if isinstance(value, float) else {}


@needs_data
@pytest.mark.parametrize(
    ("beginning", "bar", "n_fitted", "n_held_out"),
    [("TensorRT", 0.01, 10, 42), ("FlexiBO", 0.04, 2304, 2304), ("VGG19", 0.03, 7, 6)],
)
def test_bars_are_met_on_configurations_not_fitted_on(report, beginning, bar, n_fitted, n_held_out):
    assert error_of(report, beginning) <= bar
    for row in report.rows:
        if row.source.startswith(beginning):
            assert (row.n_fitted, row.n_held_out) == (n_fitted, n_held_out)


@needs_data
def test_there_is_a_row_for_every_network_and_rail(report):
    text = report.table()
    assert text.count("TensorRT latency") == 4
    for rail in ("GPU", "SOC", "CPU", "DDR", "VDD_IN"):
        assert f"VGG19 {rail} power" in text
    assert "VGG19 energy optimum" in text


@needs_data
def test_energy_optimum_of_vgg19_is_inside_the_measured_band(report):
    assert error_of(report, "VGG19 energy optimum") == 0.0


@needs_data
def test_committed_device_is_what_the_calibration_writes(report, tmp_path):
    tomllib = pytest.importorskip("tomllib")
    written = tomllib.loads(report.device_toml)
    committed = tomllib.loads(device_path("tx2").read_text())
    assert numbers(committed) == pytest.approx(numbers(written), rel=1e-3, abs=1e-30)
    for key in ("validated_on", "modelled", "provenance", "domains"):
        assert committed[key] == written[key]
    path = tmp_path / "written.toml"
    path.write_text(report.device_toml)
    assert DeviceModel.load(path).fingerprint == DeviceModel.load("tx2").fingerprint


@needs_data
def test_command_prints_the_table_and_writes_the_device(tmp_path, capsys):
    assert command.main(["--data", str(DATA), "--out", str(tmp_path), "--page", str(tmp_path)]) == 0
    assert "FlexiBO latency" in capsys.readouterr().out
    for name in ("tx2", *MEASURED):
        assert DeviceModel.load(tmp_path / f"{name}.toml").name == name
    assert (tmp_path / "devices.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "devices.md").read_text()
    assert page == (REPOSITORY / "results" / "devices.md").read_text()
    assert "Missed, and why" in page


@needs_data
def test_committed_boards_are_what_the_calibration_writes(fits):
    tomllib = pytest.importorskip("tomllib")
    for name, fit in fits.items():
        text = device_toml(name, read_table(), DeviceModel.load("tx2"), fit.parts())
        committed, again = (tomllib.loads(t) for t in (device_path(name).read_text(), text))
        assert numbers(committed) == pytest.approx(numbers(again), rel=1e-3, abs=1e-30)
        assert list(committed["runtimes"]) == list(again["runtimes"])


@needs_data
@pytest.mark.parametrize(
    ("board", "runtime", "beginning", "bar"),
    [
        ("xavier-nx", "tensorrt-int8", "latency over GPU clocks, each release", 0.035),
        (
            "agx-xavier",
            "tensorrt-int8",
            "latency over GPU clocks, each release held out, wi",
            0.025,
        ),
        ("agx-orin", "tensorrt-int8", "latency over all clocks", 0.12),
        ("xavier-nx", "tensorrt-int8", "power", 0.12),
        ("agx-xavier", "tensorrt-int8", "power", 0.12),
        ("agx-orin", "tensorrt-int8", "power", 0.12),
        ("pi4", "tflite-cpu", "EfficientNet-Lite0", 0.15),
        ("pi4", "armnn-cpu", "EfficientNet-Lite0", 0.15),
        ("orin-nano", "all four", "YOLOv8n in 15W", 0.15),
    ],
)
def test_boards_are_predicted_as_well_as_claimed(fits, board, runtime, beginning, bar):
    rows = [r for r in fits[board].bars if r.runtime == runtime and r.source.startswith(beginning)]
    assert rows
    assert max(row.error for row in rows) <= bar


@needs_data
def test_a_predicted_row_was_not_fitted_to(fits):
    """EfficientNet-Lite stays out of the fits that are judged by it."""
    for board in ("pi4", "rk3588"):
        lite = [p for p in fits[board].points if p.network.startswith("efficientnet")]
        assert lite
        assert all(p.fitted is None and p.predicted is not None for p in lite)


@needs_data
def test_a_missed_bar_says_why(fits):
    missed = [row for fit in fits.values() for row in fit.bars if not row.ok]
    assert {row.board for row in missed} == {"agx-xavier", "rk3588"}
    assert all(row.reason for row in missed)


@needs_data
def test_without_out_nothing_is_written(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("pathlib.Path.write_text", None)
    assert command.main(["--data", str(DATA)]) == 0
    assert "FlexiBO latency" in capsys.readouterr().out


@needs_data
def test_unwritable_device_file_is_an_error(tmp_path, capsys):
    assert command.main(["--data", str(DATA), "--out", str(tmp_path / "nowhere")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_missed_bar_leaves_the_device_alone(tmp_path, capsys, monkeypatch):
    missed = CalibrationReport((BarRow("VGG19 GPU power", 7, 6, 0.05, 0.03),), "name = 1")
    monkeypatch.setattr(command, "calibrate", lambda data_dir: missed)
    monkeypatch.setattr(command, "refit", lambda data_dir: {})
    assert command.main(["--data", str(tmp_path), "--out", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert "MISSED" in captured.out
    assert "a bar is missed" in captured.err
    assert not list(tmp_path.iterdir())


def test_missing_data_is_one_sentence(tmp_path, capsys):
    assert command.main(["--data", str(tmp_path / "nowhere")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: data file ")
    assert "does not exist; check --data" in error
    assert error.count("\n") == 1


@needs_data
@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (sources.VGG19_POWER, ("gpu_w", "gpu_watt"), "no column 'gpu_w'"),
        (sources.VGG19_POWER, ("576.6", "fast"), "line 2: latency_ms is 'fast'"),
        (sources.VGG19_POWER, ("576.6", "-1"), "line 2: latency_ms is '-1'"),
        (sources.VGG19_POWER, ("576.6", "nan"), "line 2: latency_ms is 'nan'"),
        (sources.TENSORRT, ("vgg19_N2", "vgg19_N3"), "no rows of 'vgg19_N2'"),
        (sources.FLEXIBO, ("xception", "exception"), "no rows of 'xception'"),
        (tables.MLPERF, ("wall_w", "watts"), "no column 'wall_w'"),
        (tables.YOLO_MODES, ("23.69", "fast"), "line 2: gpu_ms is 'fast'"),
    ],
)
def test_spoilt_data_is_one_sentence(data, capsys, file, change, message):
    path = data / file
    path.write_text(path.read_text().replace(*change))
    assert command.main(["--data", str(data)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert file in error
    assert error.count("\n") == 1


@needs_data
def test_too_few_configurations_are_an_error(data, capsys):
    path = data / sources.UNICORN
    path.write_text("\n".join(path.read_text().splitlines()[:3]))
    assert command.main(["--data", str(data)]) == 2
    assert "too few to fit 4 latency parameters" in capsys.readouterr().err


@needs_data
def test_empty_data_is_an_error(data, capsys):
    (data / sources.UNICORN).write_text("")
    assert command.main(["--data", str(data)]) == 2
    assert "holds no rows" in capsys.readouterr().err


@needs_data
def test_slow_memory_clocks_and_unclear_power_are_left_out():
    rows = sources.light_load(DATA)
    assert rows.clocks.emc_hz.min() >= sources.LOWEST_EMC_HZ
    assert len(rows.total_w) < len(sources.unicorn_latency(DATA).latency_s)
