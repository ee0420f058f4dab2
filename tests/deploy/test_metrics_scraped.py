"""Debian's Prometheus scrapes a running daemon and answers every query of the dashboard."""

from __future__ import annotations

import json
import math
import re
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from agents.watch import commands
from tests.ports import unused_port

REPOSITORY = Path(__file__).parents[2]
PROMETHEUS = REPOSITORY / ".prometheus/usr/bin"
DASHBOARD = json.loads((REPOSITORY / "docs/dvfo-board.grafana.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
WAIT_S = 120.0

needs_prometheus = pytest.mark.skipif(
    not (PROMETHEUS / "prometheus").exists(), reason="no Prometheus: make .prometheus (Debian)"
)


def asked(url, **query):
    with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
        return answer.read().decode()


def started(stop, *command):
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    stop.append(process)
    return process


@pytest.fixture(scope="module")
def running():
    """Processes that end with the tests."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in reversed(processes):
        process.terminate()
    for process in processes:
        process.communicate(timeout=20)


@pytest.fixture
def scraped(running, edge_run, photographs, tmp_path):
    """Address of a daemon that answers, and of a Prometheus that has scraped it a few times."""
    board, watcher = (f"127.0.0.1:{unused_port()}" for _ in range(2))
    options = ("--run", edge_run, "--source", photographs, "--metrics", board)
    daemon = started(running, sys.executable, "deploy.py", *options)
    config = tmp_path / "prometheus.yml"
    config.write_text(
        f"scrape_configs: [{{job_name: dvfo, scrape_interval: 1s, static_configs: "
        f'[{{targets: ["{board}"]}}]}}]\n'
    )
    started(
        running,
        PROMETHEUS / "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address={watcher}",
    )
    enough = 'count_over_time(dvfo_board_requests_total{outcome="in_time"}[1m]) > 3'
    until_s = time.monotonic() + WAIT_S
    while time.monotonic() < until_s:
        assert daemon.poll() is None, daemon.communicate()[1]
        try:
            if values(f"http://{watcher}", enough):
                return f"http://{board}/metrics", f"http://{watcher}"
        except OSError:  # it does not listen yet
            pass
        time.sleep(0.5)
    pytest.fail(f"nothing was scraped within {WAIT_S:g} s")


def values(watcher, query):
    found = json.loads(asked(f"{watcher}/api/v1/query", query=query))
    assert found["status"] == "success", found
    return [float(series["value"][1]) for series in found["data"]["result"]]


@needs_prometheus
def test_every_query_of_the_dashboard_returns_data(scraped):
    board, watcher = scraped
    for query in QUERIES:
        written = query.replace("$instance", ".+").replace("$__rate_interval", "1m")
        found = values(watcher, written)
        assert found, written
        assert all(map(math.isfinite, found)), (written, found)
    checked = subprocess.run(
        [PROMETHEUS / "promtool", "check", "metrics"],
        input=asked(board),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_status_tells_of_a_running_daemon(running, edge_run, photographs, capsys):
    address = f"127.0.0.1:{unused_port()}"
    options = ("--run", edge_run, "--source", photographs, "--metrics", address)
    daemon = started(running, sys.executable, "deploy.py", *options)
    until_s, state = time.monotonic() + WAIT_S, None
    while state is None or len(state["history"]["time_s"]) < 2:
        assert time.monotonic() < until_s
        assert daemon.poll() is None, daemon.communicate()[1]
        time.sleep(0.5)
        if commands.main(["status", "--json", address]) == 0:
            state = json.loads(capsys.readouterr().out)
    assert state["totals"]["requests"] > 0
    assert state["age_s"] < 5.0
    assert sum(state["history"]["in_time"] + state["history"]["late"]) > 0
    assert state["recent"]["energy_per_request_j"] > 0.0
    assert [clock["name"] for clock in state["clocks"]]
    assert commands.main(["status", address]) == 0
    assert "the policy decides" in capsys.readouterr().out


def test_the_dashboard_is_whole():
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24


def test_the_page_names_each_metric_of_the_dashboard_and_of_the_code():
    page = (REPOSITORY / "docs/metrics.md").read_text()
    code = (REPOSITORY / "agents/watch/metrics.py").read_text()
    shown = re.findall(r"dvfo_\w+", " ".join(QUERIES))
    for name in {*shown, *re.findall(r'"(dvfo_board_\w+)"', code)}:
        assert re.sub("_(bucket|count)$", "", name) in page, name


def test_an_address_in_use_ends_it_before_the_board_is_touched(refusal, edge_run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        assert listen in refusal(edge_run, "--metrics", listen)


def test_a_comparison_takes_no_metrics(refusal, edge_run):
    assert "--metrics" in refusal(edge_run, "--against", "governor", "--metrics", "127.0.0.1:0")
