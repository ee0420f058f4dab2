"""`deploy.py --log-format json`: lines for a collector of logs."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone

import pytest

from agents.deployed.service_totals import ServiceTotals
from agents.deployed.shown_lines import JsonFormatter, json_line
from agents.deployed.summary import live_attributes
from tests.agents.watch.shown_plant import Plant


@pytest.fixture
def bare_logging():
    """No handlers but those that the command adds."""
    root = logging.getLogger()
    before, root.handlers = root.handlers, []
    yield
    root.handlers = before


def records(text):
    return [json.loads(line) for line in text.splitlines()]


def test_every_line_is_a_record(main, edge_run, capsys, bare_logging):
    assert main(edge_run, "--log-format", "json", "--duration", "2.5") == 0
    printed = capsys.readouterr()
    first, *steps, summary = records(printed.out)
    assert "runs on" in first["body"]
    assert summary["attributes"]["requests"] > 0
    assert summary["attributes"]["board_is_modelled"] is True
    assert len(steps) >= 1
    totals = [step["attributes"]["answered_total"] for step in steps]
    assert totals == sorted(totals)
    assert 0 < totals[-1] <= summary["attributes"]["requests"]
    for step in steps:
        assert step["resource"] == {"service.name": "dvfo"}
        assert (step["severity_text"], step["severity_number"]) == ("INFO", 9)
        at = datetime.fromisoformat(step["timestamp"])
        assert abs((datetime.now(timezone.utc) - at).total_seconds()) < 300
        found = step["attributes"]
        assert found["power_w"] > 0.0
        assert found["power_is_modelled"] is True
        assert found["link_bps"] is None
        assert found["answered_total"] >= found["answered"]
        assert set(found["clocks_hz"]) == set(found["clocks_asked_hz"])
        assert "Mbit/s" in step["body"]
    assert all(record["severity_number"] >= 13 for record in records(printed.err))


def test_a_step_without_requests_knows_no_latency():
    plant = Plant()
    info = plant.serve()
    info["outcome"] |= {"latency_s": 0.02, "deadline_hit_rate": 1.0, "fell_back": 0.0}
    found = live_attributes(plant, info, ServiceTotals(plant))
    assert (found["latency_s"], found["deadline_hit_rate"], found["answered"]) == (None, None, 0)


def test_a_dry_run_writes_records_only(main, edge_run, capsys, bare_logging):
    assert main(edge_run, "--log-format", "json", "--duration", "0.5", "--dry-run") == 0
    assert records(capsys.readouterr().out)


def test_an_error_is_a_record(main, tmp_path, capsys, bare_logging):
    assert main(tmp_path / "nowhere", "--log-format", "json") == 2
    (record,) = records(capsys.readouterr().err)
    assert record["severity_text"] == "ERROR"
    assert "nowhere" in record["body"]


def test_text_stays_as_it_is(main, edge_run, capsys, bare_logging):
    assert main(edge_run, "--duration", "0.5") == 0
    assert not capsys.readouterr().out.startswith("{")


def test_numbers_that_json_does_not_have_are_null():
    attributes = {"a": float("nan"), "b": {"c": float("inf"), 3: 1.0}, "d": None, "e": True}
    record = json.loads(json_line("x\ny", attributes, now_s=lambda: 0.0))
    assert record["attributes"] == {"a": None, "b": {"c": None, "3": 1.0}, "d": None, "e": True}
    assert record["timestamp"] == "1970-01-01T00:00:00+00:00"
    assert record["body"] == "x\ny"
    assert "\n" not in json_line("x\ny", {})


@pytest.mark.parametrize(
    ("level", "name"),
    [(logging.CRITICAL, "ERROR"), (logging.WARNING, "WARN"), (25, "INFO"), (5, "DEBUG")],
)
def test_severities_are_opentelemetry_s(level, name):
    assert json.loads(json_line("x", {}, level=level))["severity_text"] == name


def test_a_traceback_is_an_attribute():
    try:
        raise ValueError("no")
    except ValueError:
        record = logging.LogRecord("a", 40, "b.py", 1, "failed %s", ("it",), sys.exc_info())
    found = json.loads(JsonFormatter().format(record))
    assert found["body"] == "failed it"
    assert "ValueError: no" in found["attributes"]["exception.stacktrace"]
    assert found["attributes"]["logger"] == "a"
