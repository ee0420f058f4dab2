from __future__ import annotations

import numpy as np
import pytest

from envs.errors import ScenarioError
from envs.scenarios.link_trace import main, read_trace
from envs.scenarios.scenario import Scenario

CSV = "second,mbps\n" + "\n".join(f"{i},{10 + i % 3}" for i in range(30)) + "\n"


@pytest.fixture
def trace(tmp_path):
    def write(content):
        path = tmp_path / "uplink.trace"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_csv_rates_become_bits_per_second(trace):
    rate_bps = read_trace(trace(CSV))
    assert rate_bps.shape == (30,)
    np.testing.assert_allclose(rate_bps[:4], [10e6, 11e6, 12e6, 10e6])


def test_gaps_of_a_csv_are_interpolated(trace):
    rate_bps = read_trace(trace("second,mbps\n5,0\n15,10\n"))
    np.testing.assert_allclose(rate_bps, np.arange(11) * 1e6)


SEVERAL = "trace,direction,second,mbps\n" + "\n".join(
    f"{name},{way},{second},{rate + second}"
    for name, rate in (("LTE", 10), ("UMTS", 1))
    for way in ("down", "up")
    for second in range(20)
)


def test_of_several_recordings_in_a_csv_one_is_chosen(trace):
    path = trace(SEVERAL)
    rate_bps = read_trace(path, {"trace": "UMTS", "direction": "up"})
    np.testing.assert_allclose(rate_bps, 1e6 * (1 + np.arange(20)))


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (
            {},
            r'recordings; choose .* \{ trace = "LTE", direction = "down" \} or .*4 in all',
        ),
        ({"trace": "LTE"}, "several recordings"),
        ({"trace": "5G"}, "no such recording"),
        ({"way": "up"}, "no column 'way'"),
    ],
)
def test_a_choice_of_no_single_recording_shows_those_there_are(trace, where, said):
    with pytest.raises(ScenarioError, match=said):
        read_trace(trace(SEVERAL), where)


def test_the_command_takes_a_choice_too(trace, capsys):
    assert main([str(trace(SEVERAL)), "--where", "trace=LTE", "direction=up"]) == 0
    assert "[link.rate_mbps]" in capsys.readouterr().out


def test_mahimahi_counts_packets_per_second_and_leaves_the_cut_last_one_out(trace):
    lines = [str(ms) for second in range(12) for ms in (1000 * second, 1000 * second + 900)]
    rate_bps = read_trace(trace("\n".join(lines)))
    np.testing.assert_array_equal(rate_bps, np.full(11, 2 * 1500 * 8))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "malformed"),
        ("second,mbps\n", "no row"),
        ("second,mbps\n1,2\n2\n", "malformed"),
        (CSV.replace("5,12", "nan,12"), "malformed"),
        ("time,rate\n1,2\n", "malformed"),
        (CSV.replace("11", "fast", 1), "malformed"),
        (CSV.replace("11", "nan", 1), "finite"),
        (CSV.replace("11", "-1", 1), ">= 0"),
        (CSV + CSV.split("\n", 1)[1], "ascend"),
        ("second,mbps\n1,2\n2,3\n", "covers 2 s; give at least 10 s"),
        ("1\n2\nthree\n", "malformed"),
        ("-5\n20000\n", "negative"),
        ("second,mbps\n0,1\n1e18,2\n", "spans more than"),
        ("second,mbps\n0,1\ninf,2\n", "spans more than"),
        ("1\n99999999999999999\n", "spans more than"),
        (b"\xff\xfe\x00\x01", "cannot be read"),
    ],
)
def test_a_malformed_trace_is_named(trace, content, problem):
    path = trace(content)
    with pytest.raises(ScenarioError, match=problem) as error:
        read_trace(path)
    assert str(path) in str(error.value)


def test_a_missing_trace_and_a_folder_are_named(tmp_path):
    with pytest.raises(ScenarioError, match=r"gone\.csv does not exist"):
        read_trace(tmp_path / "gone.csv")
    with pytest.raises(ScenarioError, match="cannot be read"):
        read_trace(tmp_path)


def test_the_command_prints_a_table_that_a_scenario_takes(trace, scenario_file, capsys):
    assert main([str(trace(CSV)), str(trace(CSV))]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header == "[link.rate_mbps]"
    path = scenario_file({"link.rate_mbps": None})
    with path.open("a") as file:
        file.writelines(f"\nlink.rate_mbps.{line}" for line in lines)
    signal = Scenario.load(str(path)).signals["link_bps"]
    assert signal.quantiles[0] == 10e6
    assert signal.quantiles[-1] == 12e6


def test_the_command_reports_errors_in_one_sentence(tmp_path, capsys):
    assert main([str(tmp_path / "gone.csv")]) == 2
    assert capsys.readouterr().err.startswith("error: link trace")
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2
    assert "usage" in capsys.readouterr().err
