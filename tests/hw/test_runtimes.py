from __future__ import annotations

import pytest

from hw.boards.sim import SimBoard
from hw.device.file import device_path, moved, on_runtime, split_runtime
from hw.device.model import DeviceModel
from hw.errors import DeviceFileError

OLD = device_path("tx2").read_text()
NETWORK = OLD[OLD.index("[network]\n") : OLD.index("[power]\n")]
SIZE = (1e9, 5e7, 60)


@pytest.fixture
def device(tmp_path):
    """Write the TX2's file with other run-times; returns its path."""

    def write(runtimes: str):
        path = tmp_path / "mine.toml"
        path.write_text(OLD.replace(NETWORK, runtimes))
        return path

    return write


def own(name: str) -> str:
    """A run-time with the TX2's coefficients."""
    return NETWORK.replace(
        "[network]",
        f'[runtimes.{name}]\nmeasured = "{name} was"\nassumed = "the rest"\n'
        f"[runtimes.{name}.network]",
    )


def test_a_file_without_run_times_has_one():
    tx2 = DeviceModel.load("tx2")
    assert tx2.runtime == "tensorflow"
    assert list(tx2.runtimes) == ["tensorflow"]
    assert tx2 == DeviceModel.load("tx2@tensorflow")


def test_the_first_is_taken_and_another_can_be_named(device):
    half = '[runtimes.fast]\nmeasured = "f"\nassumed = "a"\nfactor = 0.5\nof = "torch"\n\n'
    path = device(half + own("torch"))
    assert DeviceModel.load(path).runtime == "fast"
    slow, fast = DeviceModel.load(f"{path}@torch"), DeviceModel.load(path)
    hz = (2e9, 1e9, 1.6e9)
    latencies_s = [float(it.latency_s(it.network.demand(*SIZE), *hz)) for it in (slow, fast)]
    assert latencies_s[1] == pytest.approx(0.5 * latencies_s[0])
    assert "run-time torch: measured: torch was; assumed: the rest" in slow.status_line


def test_a_missing_run_time_lists_those_that_are_there(device):
    path = device(own("torch"))
    with pytest.raises(DeviceFileError, match=r"no run-time 'tensorrt-int8'; use one of torch"):
        DeviceModel.load(f"{path}@tensorrt-int8")


@pytest.mark.parametrize(
    ("runtimes", "message"),
    [
        ("", "network is missing; add it, or runtimes"),
        (NETWORK + own("torch"), "network stands beside runtimes"),
        ('[runtimes.x]\nmeasured = "m"\nassumed = "a"\n\n', "give either network, or factor"),
        (
            '[runtimes.x]\nmeasured = "m"\nassumed = "a"\nfactor = 2.0\n\n',
            "give either network, or factor",
        ),
        (
            '[runtimes.x]\nmeasured = "m"\nassumed = "a"\nfactor = 2.0\nof = "y"\n\n',
            "runtimes.x.of is 'y'",
        ),
        ('[runtimes.x]\nassumed = "a"\nfactor = 2.0\nof = "y"\n\n', "measured is missing"),
    ],
)
def test_mistakes_in_run_times_are_named(device, runtimes, message):
    with pytest.raises(DeviceFileError, match=message):
        DeviceModel.load(device(runtimes))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("tx2", ("tx2", None)),
        ("tx2@torch", ("tx2", "torch")),
        ("/home/me@work/a.toml", ("/home/me@work/a.toml", None)),
        ("/home/me@work/a.toml@torch", ("/home/me@work/a.toml", "torch")),
        ("a@b.toml", ("a@b.toml", None)),
    ],
)
def test_a_device_and_its_run_time_fit_in_one_text(text, parts):
    assert split_runtime(text) == parts
    assert on_runtime(*parts) == text


def test_a_long_network_draws_more_than_a_short_one(device):
    activity = "[runtimes.torch.activity]\nlevel = 0.5\nrise = 0.5\nhalf_s = 0.01\n\n"
    known = DeviceModel.load(device(own("torch") + activity))
    hz = tuple(float(table[-1]) for table in (known.cpu_hz, known.gpu_hz, known.emc_hz))
    work = known.network.demand(*SIZE)
    factor = known.runtimes["torch"].activity.factor(float(known.latency_s(work, *hz)))
    assert 0.5 < factor < 1.0
    running = known.running(work).power
    assert running.gpu_busy_w_per_hz == pytest.approx(factor * known.power.gpu_busy_w_per_hz)
    assert running.cpu_busy_w_per_hz3 == known.power.cpu_busy_w_per_hz3


def test_a_power_mode_counts_the_clusters_that_are_on_times_their_clock(device):
    modes = "[power_modes.small]\ngpu_tpcs = 1\ncpu_hz = 1e9\ngpu_hz = 6e8\nemc_hz = 1.4e9\n\n"
    path = device(own("torch") + modes)
    path.write_text(path.read_text().replace('name = "tx2"\n', 'name = "tx2"\ngpu_tpcs = 2\n', 1))
    whole, half = DeviceModel.load(path), DeviceModel.load(f"{path}+small@torch")
    assert (half.gpu_tpcs, half.runtime) == (1, "torch")
    assert half.gpu_hz[-1] <= 6e8 < whole.gpu_hz[-1]
    assert half.emc_hz[-1] <= 1.4e9
    works = [it.network.demand(*SIZE) for it in (whole, half)]
    assert works[1].gpu_cycles == pytest.approx(2 * works[0].gpu_cycles)
    assert works[1].emc_cycles == works[0].emc_cycles
    load_w = [float(it.power.gpu_busy_w_per_hz) for it in (whole, half)]
    assert load_w[1] == pytest.approx(0.5 * load_w[0])
    with pytest.raises(DeviceFileError, match="no power mode 'large'; it has small"):
        DeviceModel.load(f"{path}+large")


def test_a_mode_with_more_clusters_than_the_gpu_is_refused(device):
    modes = "[power_modes.x]\ngpu_tpcs = 3\ncpu_hz = 1e9\ngpu_hz = 6e8\nemc_hz = 1.4e9\n\n"
    with pytest.raises(DeviceFileError, match=r"power_modes\.x\.gpu_tpcs is 3; give at most"):
        DeviceModel.load(device(own("torch") + modes))


def test_a_device_moves_with_its_mode_and_run_time(tmp_path):
    kept = tmp_path / "device.toml"
    assert moved("a.toml+15W@torch", kept) == f"{kept}+15W@torch"
    assert moved("a.toml@torch", kept) == f"{kept}@torch"
    assert moved("a.toml", kept) == str(kept)


def test_a_modelled_board_draws_what_its_network_does(device):
    activity = "[runtimes.torch.activity]\nlevel = 0.5\nrise = 0.0\nhalf_s = 0.01\n\n"
    loaded = DeviceModel.load(device(own("torch") + activity))
    board = SimBoard(loaded)
    for _ in range(2):  # told again, it does not draw less still
        board.runs(*SIZE)
        assert board.device.power.gpu_busy_w_per_hz == 0.5 * loaded.power.gpu_busy_w_per_hz
    work, watts = loaded.network.demand(*SIZE), []
    for each in (board, SimBoard(loaded)):
        with each.run(work), each.present() as state:
            watts.append(float(state.rails.total_w))
    assert watts[0] < watts[1]
    assert board.known_max_power_w < loaded.max_power_w
