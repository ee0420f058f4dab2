"""The container file, read: no container engine is needed, and no image is built."""

from __future__ import annotations

import json
import re

import pytest

from tests.conftest import REPOSITORY
from tests.installed.environments import FILES, SHIPPED
from tests.installed.test_install_script import COPIED

TEXT = (REPOSITORY / "Dockerfile").read_text()
HEAD = TEXT.partition("\nARG ")[0]


def instructions() -> list[tuple[str, str]]:
    lines = [line for line in TEXT.splitlines() if line and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(word, " ".join(rest.split())) for word, _, rest in map(split, joined.splitlines())]


def split(line: str) -> tuple[str, str, str]:
    return line.partition(" ")


def given(word: str) -> list[str]:
    return [rest for name, rest in instructions() if name == word]


def test_base_is_one_that_does_not_move():
    assert given("FROM") == ["${BASE}"]
    (base,) = [rest.partition("=")[2] for rest in given("ARG") if rest.startswith("BASE=")]
    assert re.fullmatch(r"debian:[a-z]+-\d{8}-slim", base)


def test_it_installs_python_and_calls_the_script_and_nothing_else():
    apt, script = given("RUN")
    assert re.fullmatch(
        r"apt-get update && apt-get install --yes --no-install-recommends python3 python3-venv "
        r"&& rm -rf /var/lib/apt/lists/\*",
        apt,
    )
    assert script == "./install.sh ${INSTALL}"
    assert not re.search(r"curl|wget|\| *(ba)?sh|ADD |sudo|pip ", TEXT)


def test_it_runs_as_root_and_says_so_and_starts_the_environment_s_python():
    assert given("USER") == ["root"]
    assert json.loads(given("ENTRYPOINT")[0]) == ["/opt/dvfo/.venv/bin/python"]
    assert given("WORKDIR") == ["/opt/dvfo"]
    assert json.loads(given("CMD")[0]) == ["-m", "hw.doctor"]


@pytest.mark.parametrize(
    "needed", ["--privileged", "/sys:/sys", "/var/lib/dvfo:/var/lib/dvfo", "Not run: "]
)
def test_its_head_names_the_rights_and_mounts_that_it_takes(needed):
    assert needed in HEAD


def test_image_holds_what_the_script_and_the_daemon_need_and_nothing_more():
    first, *others = [
        line
        for line in (REPOSITORY / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert first == "*"
    taken = {line.removeprefix("!") for line in others if line.startswith("!")}
    assert taken == {*SHIPPED, *FILES, *COPIED, "docs/dvfo.service"}
    assert all((REPOSITORY / name).exists() for name in taken)
