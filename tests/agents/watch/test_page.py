"""The page of a driven board, in a browser that is not told to be kind."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from types import SimpleNamespace

import pytest

from agents.deployed.service_totals import ServiceTotals
from agents.watch.application import Application
from agents.watch.watch import watched
from partition.transport.exposition import expose
from tests.agents.watch.shown_plant import STEP_S, Plant
from tests.ports import unused_port

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium: sudo make system-packages (Debian)"
)
HOSTILE = '<img src=x onerror="document.body.id=1">'


@pytest.fixture
def served(free_port, tmp_path):
    """A board with a minute behind it, and where it is shown."""
    plant, now = Plant(), SimpleNamespace(s=0.0)
    plant.layout = SimpleNamespace(board=HOSTILE, model="network")
    totals = ServiceTotals(plant, lambda: now.s)
    with watched(f"127.0.0.1:{free_port}", tmp_path) as watch:
        watch.begin("advised", plant, totals, None)
        for _ in range(round(60 / STEP_S)):
            now.s += STEP_S
            totals.add(plant.serve((0.02, None), (0.3, None)), 0.0003)
            watch.look()
        watch.events.add("the sensor <b>failed</b>", "warning")
        watch._state._take()
        taken_s = watch._state._taken_s
        watch._state._clock = lambda: taken_s  # however long a browser takes to start
        yield SimpleNamespace(url=f"http://127.0.0.1:{free_port}", watch=watch)


def got(url, method="GET", **headers):
    request = urllib.request.Request(url, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.headers, answer.read().decode()


def refused(url, method="GET", **headers):
    with pytest.raises(urllib.error.HTTPError) as error:
        got(url, method, **headers)
    with error.value:
        return error.value.code, error.value.read().decode()


def browsed(url, folder, *options):
    """The page as a browser has it once its scripts ran, and what its console said."""
    process = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"),
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            *(f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=3000"),
            *options,
            url,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    shown = re.sub(r"<script>.*?</script>", "", process.stdout, flags=re.DOTALL)
    return shown, re.findall(r"CONSOLE.*", process.stderr)


def test_the_page_loads_nothing_from_elsewhere(served):
    headers, page = got(served.url)
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    addresses = re.findall(r"(?:https?:)?//[a-z][\w.]+[\w/]*", page)
    assert set(addresses) == {"http://www.w3.org/2000/svg"}  # a name, not fetched
    assert not re.search(r"<(?:script|img|iframe|link)[^>]+(?:src|href)=(?!\"data:,)", page)


@needs_chromium
def test_a_browser_shows_what_the_board_does(served, tmp_path):
    page, console = browsed(served.url, tmp_path)
    assert console == []
    for text in ("the policy decides", "50.0", "J", "GHz", "16 kB cut", "the thermal guard"):
        assert text in page, text
    assert "not measured (deploy.py --against governor)" in page
    assert page.count("<path") >= 8  # curves of six charts


@needs_chromium
def test_names_and_sentences_are_text_whatever_stands_in_them(served, tmp_path):
    page, _ = browsed(served.url, tmp_path)
    assert '<body id="1">' not in page
    assert "<img" not in page
    assert "&lt;img src=x" in page
    assert "the sensor &lt;b&gt;failed&lt;/b&gt;" in page


@needs_chromium
def test_a_board_that_is_not_there_yet_is_said(free_port, tmp_path):
    with watched(f"127.0.0.1:{free_port}", tmp_path):
        page, _ = browsed(f"http://127.0.0.1:{free_port}", tmp_path)
    assert "the board is not yet driven" in page


@needs_chromium
@pytest.mark.parametrize("width", [360, 1400])  # a phone, a desk
def test_nothing_is_wider_than_the_screen(served, tmp_path, width):
    # A browser's window is 500 pixels wide at least; the page asks for the room that it has.
    measuring = (
        f"document.documentElement.style.width = '{width}px'; setTimeout(() => {{"
        "document.body.dataset.over = [...document.body.querySelectorAll('*')]"
        f".filter(e => e.getBoundingClientRect().right > {width} + 1).length; }}, 1500);</script>"
    )
    application = Application(served.watch.registry, served.watch.document)
    application._page = application._page.replace(b"</script>", measuring.encode())
    address = f"127.0.0.1:{unused_port()}"
    stop = expose(application, address)
    page, _ = browsed(f"http://{address}", tmp_path, "--window-size=1400,3000")
    stop()
    assert 'data-over="0"' in page
    assert page.count("<path") >= 8


def test_a_head_has_no_body(served):
    headers, body = got(served.url, "HEAD")
    assert body == ""
    assert int(headers["Content-Length"]) == len(got(served.url)[1].encode())


def test_other_paths_and_methods_are_refused_in_a_sentence(served):
    assert refused(f"{served.url}/nowhere") == (404, "there is /, /state and /metrics\n")
    assert refused(f"{served.url}/state", "POST") == (405, "GET and HEAD only\n")
    assert refused(f"{served.url}/../../etc/passwd")[0] == 404


@pytest.mark.parametrize("path", ["/", "/state", "/metrics"])
def test_somebody_else_s_name_for_this_machine_is_refused(served, path):
    """A page of theirs could let it lead here, and read what this one shows."""
    for host in ("evil.example", "evil.example:9101", "127.0.0.1.evil.example", "[::1", ""):
        assert refused(served.url + path, Host=host)[0] == 403, host
    for host in ("localhost:9101", "127.0.0.1", "[::1]:9101"):
        assert got(served.url + path, Host=host)[1]
