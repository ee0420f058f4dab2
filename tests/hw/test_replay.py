from __future__ import annotations

import pytest

from hw.boards.measured_table import load, network_names
from hw.boards.registry import open_board
from hw.boards.replay import ReplayBoard
from hw.device.model import DeviceModel
from hw.errors import DeviceFileError, UnsupportedError
from hw.replay import main

GPU_MHZ, EMC_MHZ = (306.0, 612.0, 1300.5), (1062.4, 1866.0)
"""Of a table small enough to be written here; its values are made up."""


@pytest.fixture
def data(tmp_path):
    """A folder of measurements in the form of the TX2's."""
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [
        f"vgg19_N2,{gpu},{emc},{60_000 / gpu + 40_000 / emc:.2f}"
        for gpu in GPU_MHZ
        for emc in EMC_MHZ
    ]
    (folder / "tx2_tensorrt_gpu_emc_latency.csv").write_text(
        "\n".join(["network,gpu_mhz,emc_mhz,latency_ms", *rows]) + "\n"
    )
    power = [f"{gpu},1.0,{gpu / 200},1.0,1.2,2.0,{5 + gpu / 100},1.0" for gpu in GPU_MHZ]
    head = "gpu_mhz,latency_ms,gpu_w,soc_w,cpu_w,ddr_w,vdd_in_w,joule_per_inference"
    (folder / "tx2_vgg19_rail_power.csv").write_text("\n".join([head, *power]) + "\n")
    factorial = [
        f"xception,200,{cores},{cpu},{gpu},{emc},{100 / cpu + 50 / gpu + 20 / emc / cores}"
        for cores in (2, 4)
        for cpu in (345.6, 2035.2)
        for gpu in (140.25, 1300.5)
        for emc in EMC_MHZ
    ]
    (folder / "tx2_flexibo_full_factorial.csv").write_text(
        "\n".join(["model,input_px,n_cores,cpu_mhz,gpu_mhz,emc_mhz,latency_s", *factorial]) + "\n"
    )
    return folder


@pytest.fixture
def device(data, tmp_path, capsys):
    """Write the device that replays a network."""

    def write(network: str) -> str:
        out = tmp_path / f"{network}.toml"
        arguments = ["--data", str(data), "--network", network, "--out", str(out)]
        assert main(arguments) == 0
        assert f"--device {out}" in capsys.readouterr().out
        return str(out)

    return write


@pytest.fixture
def board(device):
    """A board on a clock of its own."""
    now = [0.0]

    def wait(seconds: float) -> None:
        now[0] += seconds

    def build(network: str) -> ReplayBoard:
        made = ReplayBoard(DeviceModel.load(device(network)), clock=lambda: now[0], sleep=wait)
        made.open()
        return made

    return build


def test_an_axis_that_was_not_measured_leaves_the_action_space(device):
    assert DeviceModel.load(device("vgg19_N2")).settable == ("gpu", "emc")
    assert DeviceModel.load(device("xception_200px")).settable == ("cpu", "gpu", "emc")


def test_the_whole_network_takes_what_was_measured_and_a_piece_its_share(board, data):
    made = board("vgg19_N2")
    flops = load(data, "vgg19_N2").flops
    for gpu in GPU_MHZ:
        made.apply({"gpu": round(gpu * 1e6), "emc": 1_866_000_000})
        made._sleep(1.0)  # past the delay of both clocks
        measured_s = 1e-3 * round(60_000 / gpu + 40_000 / 1866.0, 2)
        for share in (1.0, 0.25):
            with made.pace(share * flops, 1e6, 10) as work:
                pass
            assert work.modelled_s == pytest.approx(share * measured_s, rel=1e-6)


def test_power_is_measured_where_it_was_and_fitted_elsewhere(board, data):
    made = board("vgg19_N2")
    flops = load(data, "vgg19_N2").flops
    made.apply({"gpu": 612_000_000, "emc": 1_866_000_000})
    made._sleep(1.0)
    made.begin_window()
    with made.pace(flops, 1e6, 10):
        pass
    assert made.end_window().energy_j == pytest.approx(
        (5 + 6.12) * 1e-3 * round(60_000 / 612 + 40_000 / 1866, 2), rel=1e-6
    )
    with made.present() as state:
        idle = float(state.rails.total_w)
    assert idle < 11.12
    assert made.evidence["power and energy"].startswith("measured at the highest memory clock")
    assert board("xception_200px").evidence["power and energy"].startswith("fitted")


def test_every_figure_says_what_it_is(board):
    kinds = board("vgg19_N2").evidence
    assert all(
        any(word in kind for word in ("measured", "fitted", "modelled")) for kind in kinds.values()
    )
    assert "30%" in kinds["latency of heads and tails"]


def test_the_table_says_of_each_figure_what_it_is(data, capsys):
    assert main(["--data", str(data), "--network", "vgg19_N2"]) == 0
    told = capsys.readouterr().out
    assert "ms measured" in told
    assert "ms fitted" in told
    assert "J measured" in told


def test_it_is_opened_by_name(device):
    with open_board("replay", device=device("vgg19_N2")) as board:
        assert board.name == "replay"
        assert set(board.domains) == {"gpu", "emc"}


def test_a_device_without_a_table_is_refused_with_how_to_get_one():
    with pytest.raises(UnsupportedError, match=r"tx2 has none; write .* python -m hw\.replay"):
        open_board("replay", device="tx2")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("612.0,1866.0,", "612.0,1600.0,"), "not one for each of its 9"),
        (lambda text: text.replace("latency_ms", "ms"), "is damaged"),
        (lambda text: text.replace("306.0,", "slow,", 1), "is damaged"),
        (lambda text: "", "holds 0 rows"),
    ],
)
def test_a_damaged_table_is_one_sentence(data, capsys, change, message):
    path = data / "tx2_tensorrt_gpu_emc_latency.csv"
    path.write_text(change(path.read_text()))
    assert main(["--data", str(data), "--network", "vgg19_N2"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_network_that_was_not_measured_lists_those_that_were(data):
    with pytest.raises(DeviceFileError, match="nothing was measured of network 'vgg16'") as refused:
        load(data, "vgg16")
    assert all(name in str(refused.value) for name in network_names())


def test_missing_data_is_named(tmp_path, capsys):
    assert main(["--data", str(tmp_path)]) == 2
    assert "does not exist; check --data" in capsys.readouterr().err


def test_another_network_is_modelled_by_its_operations(board, data):
    made = board("vgg19_N2")
    flops = load(data, "vgg19_N2").flops
    made.runs(1.1 * flops, 1e6, 10)
    assert made.evidence["latency of all of vgg19_N2"] == "measured"
    made.runs(0.02 * flops, 1e6, 10)
    assert made.evidence["latency"].startswith("modelled, the network that runs has 0.02 times")
    assert made.evidence["power and energy"].startswith("fitted")


@pytest.mark.parametrize("network", ["vgg19_N2", "xception_200px"])
def test_governors_move_within_the_measured_points(board, network):
    replayed = board(network)
    replayed.apply({name: domain.available_hz[0] for name, domain in replayed.domains.items()})
    with replayed.clocks_given_back():
        for _ in range(3):
            with replayed.pace(replayed.table.flops, 0.0, 0.0):
                pass
        for name, domain in replayed.domains.items():
            assert domain.read_hz() in replayed.table.axes[name]
