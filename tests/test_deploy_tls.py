"""`deploy.py` with certificates and a token, against a server that demands both."""

from __future__ import annotations

import json
import re

import pytest

from partition.certificates import make_certificates
from partition.model.runtime import SplitRuntime
from partition.security.tls import ServerSecurity
from partition.server.cloud_server import CloudServer
from tests.runs import constant_policy, write_run

CLOUD = (2, 1, 2, 0)
TOKEN = "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """What `python -m partition.certificates` writes, and a token for each side."""
    out = tmp_path_factory.mktemp("certificates")
    make_certificates(out, ["127.0.0.1"])
    (out / "token").write_text(TOKEN)
    (out / "other-token").write_text("f" * 32)
    return out


@pytest.fixture
def deployed(run_script, tiny, small_device, small_world, files, tmp_path):
    """Run deploy.py cloud-only against the server, with these options."""
    run = write_run(
        tmp_path / "run", constant_policy(small_world.layout, CLOUD), small_device, tiny.path
    )
    security = ServerSecurity(
        cert=files / "server.pem",
        key=files / "server-key.pem",
        client_ca=files / "ca.pem",
        token_file=files / "token",
    )
    with CloudServer(tiny, SplitRuntime(tiny), security=security) as server:
        address = f"127.0.0.1:{server.port}"
        always = ["--run", run, "--cloud", address, "--duration", 1.2, "--json"]
        yield lambda *options: run_script("deploy.py", *always, *options)


def options(files, **changes):
    given = {
        "--tls-ca": files / "ca.pem",
        "--tls-cert": files / "client.pem",
        "--tls-key": files / "client-key.pem",
        "--token-file": files / "token",
    } | {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
    return [part for pair in given.items() if pair[1] is not None for part in pair]


def test_a_board_with_certificate_and_token_is_served(deployed, files):
    result = deployed(*options(files))
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout.splitlines()[-1])
    assert document["requests_per_cut"] == {"input": document["requests"]}
    assert document["requests"] > 0
    assert document["fallbacks"] == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"token_file": "other-token"}, "token"),
        ({"token_file": None}, "token"),
        ({"tls_key": None}, "--tls-key"),
    ],
)
def test_a_board_that_cannot_ask_at_all_is_refused(deployed, files, changes, reason):
    changes = {
        name: files / value if isinstance(value, str) else value for name, value in changes.items()
    }
    result = deployed(*options(files, **changes))
    assert result.returncode == 2, result
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    assert re.search(reason, lines[0])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tls_ca": None}, "that can be trusted .* give --tls-ca"),
        ({"tls_cert": None, "tls_key": None}, "does not believe this client: give --tls-cert"),
    ],
)
def test_a_cloud_that_may_not_be_trusted_yet_gets_nothing_and_ends_nothing(
    deployed, files, changes, reason
):
    result = deployed(*options(files, **changes))
    assert result.returncode == 0, result
    document = json.loads(result.stdout.splitlines()[-1])
    assert document["fallbacks"] == document["requests"] > 0
    (line,) = result.stderr.strip().splitlines()
    assert re.search(f"^asking the cloud failed: .*{reason}.* on the board alone", line)
