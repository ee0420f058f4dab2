"""`deploy.py status` and `top`: a driven board in a terminal."""

from __future__ import annotations

import http.server
import io
import json
import socket
import threading
import time
from contextlib import suppress
from types import SimpleNamespace

import pytest
from rich.console import Console

from agents.deployed.service_totals import ServiceTotals
from agents.watch import asking, commands
from agents.watch.asking import printable
from agents.watch.screen import screen
from agents.watch.watch import watched
from tests.agents.watch.shown_plant import STEP_S, Plant

N_STEPS = 40


@pytest.fixture
def address(free_port, tmp_path):
    """Where a board is shown that has served for ten seconds."""
    plant, now = Plant(), SimpleNamespace(s=0.0)
    totals = ServiceTotals(plant, lambda: now.s)
    listen = f"127.0.0.1:{free_port}"
    with watched(listen, tmp_path) as watch:
        watch.begin("advised", plant, totals, None)
        for _ in range(N_STEPS):
            now.s += STEP_S
            totals.add(plant.serve((0.02, None), (0.3, None)), 0.0003)
            watch.look()
        watch.events.add("something [bold]happened", "warning")
        watch._state._take()
        yield listen


def text(state, width=80):
    console = Console(width=width)
    with console.capture() as capture:
        console.print(screen(state))
    return capture.get()


def test_one_screen_says_what_counts(address, capsys):
    assert commands.main(["status", address]) == 0
    shown = capsys.readouterr().out
    for words in (
        'network on a "board"',
        "the policy decides",
        "50.0 %",
        "80 answered, 0 dropped",
        "0.500 J",
        "target 100 ms",
        "4.00 W",
        "5.0 Mbit/s",
        "not measured (deploy.py",
        "1.00 GHz  asked for 2.00 GHz, overruled by the thermal guard",
        "16 kB cut 80",
        "something [bold]happened",
    ):
        assert words in shown, words


def test_json_is_the_state(address, capsys):
    assert commands.main(["status", "--json", address]) == 0
    assert json.loads(capsys.readouterr().out)["totals"]["requests"] == 2 * N_STEPS


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"age_s": 75.0}, "the control loop has not moved for 1 min 15 s"),
        ({"stood_in_for": "ValueError: no"}, "the policy is stood in for: ValueError: no"),
        ({"promise_is_broken": True}, "the promise cannot be kept"),
        (
            {"cloud": {"is_there": True, "link_bps": None, "rtt_s": None, "server_load": None}},
            "the cloud does not answer",
        ),
        (
            {"cloud": {"is_there": False, "link_bps": None, "rtt_s": None, "server_load": None}},
            "this board alone",
        ),
        ({"clocks": []}, "the policy decides"),
        (
            {
                "saving": {
                    "against": "governor",
                    "energy_saving": {"value": 0.071, "low": 0.059, "high": 0.083},
                    "is_shown": True,
                    "board_is_modelled": True,
                    "scenario": "steady-wifi",
                    "measured": "20261101T000000",
                }
            },
            "governor: 7.1 % (5.9 to 8.3), modelled power, in steady-wifi on 2026-11-01",
        ),
    ],
)
def test_what_is_wrong_or_known_is_said(shown, changes, words):
    for _ in range(N_STEPS):
        shown.step((0.02, None))
    assert words in text({**shown.state.document(), **changes}, width=200)


def test_a_board_that_has_served_nothing_has_a_screen(shown):
    assert "0 answered" in text(shown.state.document())


def test_no_line_is_wider_than_the_terminal(shown):
    for _ in range(600):
        shown.step((0.02, None))
    assert max(map(len, text(shown.state.document(), width=60).splitlines())) <= 60


def test_top_goes_on_until_ctrl_c_and_bridges_a_restart(address, monkeypatch):
    state, asked = commands.state_of(address), []

    def state_of(where):
        asked.append(where)
        if len(asked) == 2:
            raise commands.BoardSilentError("nobody answers for now")
        return state | {"age_s": 0.0}

    def sleep(_):
        if len(asked) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(commands, "state_of", state_of)
    console = Console(force_terminal=True, width=80, height=30, record=True, file=io.StringIO())
    commands.top(address, console, sleep)
    assert asked == [address] * 3
    written = console.file.getvalue()
    assert written.count("the policy decides") == 2
    assert "nobody answers for now" in written


def test_top_without_a_terminal_is_one_sentence(address, capsys):
    assert commands.main(["top", address]) == 2
    assert "top needs a terminal" in capsys.readouterr().err


def test_a_terminal_is_told_nothing(shown):
    """Escape sequences, lines of somebody else's, and rich's own markup are characters."""
    for _ in range(N_STEPS):
        shown.step((0.02, None))
    state = shown.state.document()
    state["totals"]["model"] = "[red]net\x1b[2Jwork\n"
    state["clocks"][0]["name"] = "[/]"
    state["events"] = [{"time_s": 0.0, "level": "warning", "text": "a\x1b]0;title\x07b\nc :smile:"}]
    seen = text(printable(state))
    assert "\x1b" not in seen
    assert "\x07" not in seen
    for words in ("[red]net", "clock [/]", "a�]0;title", "c :smile:"):
        assert words in seen, words


def test_the_newest_events_come_first(shown):
    for n in range(20):
        shown.events.add(f"event {n} " + 200 * "x", "warning")
    shown.step((0.02, None))
    lines = text(shown.state.document()).splitlines()
    (first,) = [i for i, line in enumerate(lines) if "event 19" in line]
    assert "event 18" in lines[first + 1]
    assert len(lines) <= 24


def test_nobody_there_is_one_sentence(free_port, capsys):
    assert commands.main(["status", f"127.0.0.1:{free_port}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: nobody answers at 127.0.0.1:{free_port}")
    assert error.count("\n") == 1


def test_a_board_that_is_still_opened_is_said(free_port, tmp_path, capsys):
    with watched(f"127.0.0.1:{free_port}", tmp_path):
        assert commands.main(["status", f"127.0.0.1:{free_port}"]) == 2
    assert "does not yet drive a board" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b""),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b"{}"),
        (200, 5000 * b"["),
        (500, b"{}"),
        (200, b'{"history": {}}'),
        (200, b'{"history": {}, "totals": {"model": 3}}'),
    ],
)
def test_somebody_else_there_is_one_sentence(status, body, capsys):
    class Stranger(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Stranger) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert commands.main(["status", f"127.0.0.1:{server.server_port}"]) == 2
        thread.join()
    assert "is no board that deploy.py drives" in capsys.readouterr().err


def test_an_answer_that_drips_is_not_waited_for(monkeypatch, capsys):
    monkeypatch.setattr(asking, "_PATIENCE_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        over = threading.Event()

        def drip():
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while not over.wait(0.1):
                    with suppress(OSError):
                        connection.sendall(b" ")

        thread = threading.Thread(target=drip)
        thread.start()
        began_s = time.monotonic()
        assert commands.main(["status", f"127.0.0.1:{server.getsockname()[1]}"]) == 2
        took_s = time.monotonic() - began_s
        over.set()
        thread.join()
    assert took_s < 10.0  # of 100
    assert "nobody answers" in capsys.readouterr().err


@pytest.mark.parametrize(
    "address", ["nonsense", "127.0.0.1", "127.0.0.1:99999", "a..b:9101", "a b:9101"]
)
def test_what_is_no_address_is_named(address, capsys):
    assert commands.main(["status", address]) == 2
    assert address in capsys.readouterr().err
