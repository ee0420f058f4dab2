"""TLS, mutual TLS and tokens, with certificates made by the documented command."""

from __future__ import annotations

import stat

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from partition.certificates import make_certificates
from partition.client import CloudClient
from partition.errors import CloudError, CloudUnavailableError
from partition.server import CloudServer
from partition.tls import ClientSecurity, ServerSecurity, is_loopback

TIMEOUT_S = 3.0
TOKEN = "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    out = tmp_path_factory.mktemp("certificates")
    make_certificates(out, ["localhost", "127.0.0.1"])
    return out


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "tokens"
    path.write_text(f"{'z' * 32}\n\n{TOKEN}\n")
    return path


def pair(folder, name):
    return {"cert": folder / f"{name}.pem", "key": folder / f"{name}-key.pem"}


def connect(tiny, server, **security):
    with CloudClient(
        f"localhost:{server.port}", tiny, security=ClientSecurity(**security)
    ) as client:
        client.connect(TIMEOUT_S)


def test_an_encrypted_server_is_reached_with_its_authority_only(
    tiny, runtime, certificates, tmp_path
):
    make_certificates(tmp_path / "strangers", ["localhost"])
    security = ServerSecurity(**pair(certificates, "server"))
    with CloudServer(tiny, runtime, security=security) as server:
        connect(tiny, server, ca=certificates / "ca.pem")
        with pytest.raises(CloudUnavailableError):
            connect(tiny, server, ca=tmp_path / "strangers" / "ca.pem")
        with pytest.raises(CloudError):
            connect(tiny, server)  # in the clear


def test_a_certificate_for_another_host_is_refused(tiny, runtime, certificates, tmp_path):
    make_certificates(tmp_path, ["example.org"])
    security = ServerSecurity(**pair(tmp_path, "server"))
    with (
        CloudServer(tiny, runtime, security=security) as server,
        pytest.raises(CloudUnavailableError),
    ):
        connect(tiny, server, ca=tmp_path / "ca.pem")


def test_mutual_tls_lets_in_who_shows_a_certificate(tiny, runtime, certificates):
    security = ServerSecurity(**pair(certificates, "server"), client_ca=certificates / "ca.pem")
    with CloudServer(tiny, runtime, security=security) as server:
        connect(tiny, server, ca=certificates / "ca.pem", **pair(certificates, "client"))
        with pytest.raises(CloudUnavailableError):
            connect(tiny, server, ca=certificates / "ca.pem")


def test_a_token_is_demanded_of_all_but_health_checks(
    tiny, runtime, certificates, token_file, tmp_path
):
    mine, wrong = tmp_path / "mine", tmp_path / "wrong"
    mine.write_text(TOKEN + "\n")
    wrong.write_text("f" * 32)
    security = ServerSecurity(**pair(certificates, "server"), token_file=token_file)
    with CloudServer(tiny, runtime, security=security) as server:
        ca = certificates / "ca.pem"
        connect(tiny, server, ca=ca, token_file=mine)
        for options in ({}, {"token_file": wrong}):
            with pytest.raises(CloudError, match="token"):
                connect(tiny, server, ca=ca, **options)
        credentials = grpc.ssl_channel_credentials(ca.read_bytes())
        with grpc.secure_channel(f"localhost:{server.port}", credentials) as channel:
            health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S
            )


def test_beyond_this_machine_a_client_encrypts_unless_told_otherwise(tiny, token_file):
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert is_loopback("localhost")
    assert not is_loopback("192.0.2.1")
    assert not is_loopback("example.org")
    with pytest.raises(CloudError, match="stolen"):
        CloudClient(
            "192.0.2.1:1", tiny, security=ClientSecurity(insecure=True, token_file=token_file)
        )


def test_half_a_pair_and_contradictions_are_named(certificates):
    cert = certificates / "server.pem"
    for kind in (ServerSecurity, ClientSecurity):
        with pytest.raises(CloudError, match="--tls-key"):
            kind(cert=cert)
    with pytest.raises(CloudError, match="--client-ca"):
        ServerSecurity(client_ca=cert)
    with pytest.raises(CloudError, match="--insecure"):
        ClientSecurity(insecure=True, ca=cert)


def test_files_that_are_missing_or_something_else_are_named(tmp_path, certificates):
    gone = ServerSecurity(cert=tmp_path / "gone", key=tmp_path / "gone")
    with pytest.raises(CloudError, match=r"partition\.certificates"):
        gone.credentials()
    text = tmp_path / "text"
    text.write_text("hello")
    with pytest.raises(CloudError, match="PEM"):
        ServerSecurity(cert=text, key=text).credentials()
    for content in ("", "short", "a token with umlaut ö, sixteen"):
        text.write_text(content)
        with pytest.raises(CloudError, match="openssl rand"):
            ServerSecurity(token_file=text).tokens()


class TestCertificatesCommand:
    def test_it_writes_what_both_sides_need_and_keeps_keys_private(self, run_module, tmp_path):
        out = tmp_path / "new"
        result = run_module("partition.certificates", "--out", out, "--host", "cloud.example.org")
        assert result.returncode == 0, result.stderr
        written = sorted(path.name for path in out.iterdir())
        assert written == sorted(
            f"{name}{kind}.pem" for name in ("ca", "server", "client") for kind in ("", "-key")
        )
        for path in out.glob("*-key.pem"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_a_second_run_keeps_the_authority(self, tmp_path):
        make_certificates(tmp_path, ["a.example.org"])
        before = (tmp_path / "ca.pem").read_bytes(), (tmp_path / "server.pem").read_bytes()
        make_certificates(tmp_path, ["b.example.org"])
        after = (tmp_path / "ca.pem").read_bytes(), (tmp_path / "server.pem").read_bytes()
        assert before[0] == after[0]
        assert before[1] != after[1]

    def test_a_folder_that_cannot_be_made_is_named(self, user_error, tmp_path):
        (tmp_path / "file").write_text("")
        error = user_error(
            "partition.certificates", "--out", tmp_path / "file" / "x", "--host", "a"
        )
        assert "choose another folder" in error
