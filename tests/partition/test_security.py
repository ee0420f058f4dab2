"""TLS, mutual TLS and tokens, with certificates made by the documented command."""

from __future__ import annotations

import datetime
import shutil
import socket
import ssl
import stat
import threading
from contextlib import contextmanager, suppress

import grpc
import pytest
from cryptography.hazmat.primitives import serialization
from grpc_health.v1 import health_pb2, health_pb2_grpc

from partition import certificates as certificates_module
from partition.certificates import make_certificates
from partition.edge.client import CloudClient
from partition.errors import CloudError, CloudUnavailableError
from partition.security.tls import ClientSecurity, ServerSecurity, is_loopback
from partition.server.certificate_watch import CertificateWatch
from partition.server.cloud_server import CloudServer

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


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """Of one authority: good, for another host, expired, of tomorrow; and another authority's."""
    root = tmp_path_factory.mktemp("kinds")
    make_certificates(root / "good", ["localhost"])
    day = datetime.timedelta(days=1)
    for name, host, begins_before, days in (
        ("elsewhere", "example.org", day, 5),
        ("expired", "localhost", 3 * day, -1),
        ("early", "localhost", -day, 5),
    ):
        shutil.copytree(root / "good", root / name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(certificates_module, "_CLOCK_SKEW", begins_before)
            make_certificates(root / name, [host], days)
    make_certificates(root / "strange", ["localhost"])
    return root


START = "start python -m partition.server there"


@pytest.mark.parametrize(
    ("server_kind", "client", "reason"),
    [
        ("elsewhere", {"ca": "good/ca"}, "certificate is for another host: .* --host"),
        ("expired", {"ca": "good/ca"}, "certificate has expired: make a new one"),
        ("early", {"ca": "good/ca"}, "not valid yet: set the clock"),
        ("good", {"ca": "strange/ca"}, "unknown authority: give --tls-ca"),
        ("good", {"ca": "good/ca"}, "does not believe this client: give --tls-cert"),
        ("good", {"ca": "good/ca", "pair": "strange/client"}, r"client\.pem is not of .*ca\.pem"),
        ("good", {"ca": "good/ca", "pair": "expired/client"}, r"client\.pem has expired"),
        ("good", {"ca": "good/ca", "pair": "early/client"}, r"client\.pem is not valid yet"),
        ("good", {"ca": "good/ca", "pair": "good/server"}, r"server\.pem is none for a client"),
        ("good", {}, "hangs up, as a server does that encrypts: give --tls-ca"),
        (None, {"ca": "good/ca"}, "does not encrypt: start it with --tls-cert"),
    ],
)
def test_what_is_wrong_with_a_handshake_is_named(tiny, runtime, kinds, server_kind, client, reason):
    security = None
    if server_kind is not None:
        security = ServerSecurity(
            **pair(kinds / server_kind, "server"), client_ca=kinds / "good" / "ca.pem"
        )
    given = {"ca": kinds / f"{client['ca']}.pem"} if "ca" in client else {}
    if "pair" in client:
        folder, name = client["pair"].split("/")
        given |= pair(kinds / folder, name)
    with CloudServer(tiny, runtime, security=security) as server:
        with pytest.raises(CloudUnavailableError, match=reason) as error:
            connect(tiny, server, **given)
        assert START not in str(error.value)


def hangs_up(connection, _):
    connection.close()


def speaks_http1(connection, _):
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    connection.recv(1000)


def speaks_http1_encrypted(connection, certificates):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server-key.pem")
    with context.wrap_socket(connection, server_side=True) as encrypted:
        encrypted.recv(1000)


def alerts(number):
    """A peer that answers the first message of a handshake with an alert of TLS."""

    def alert(connection, _):
        connection.recv(4000)
        connection.sendall(bytes((21, 3, 1, 0, 2, 2, number)))
        connection.recv(1000)

    return alert


@contextmanager
def peer(behave, certificates):
    """Something that listens and is no server of ours; yields its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    connection.settimeout(2.0)
                    behave(connection, certificates)

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.mark.parametrize(
    ("behave", "client", "reason"),
    [
        (hangs_up, "pair", "accepts and hangs up: it starts, is full, or is no gRPC server"),
        (hangs_up, "ca", "accepts and hangs up: it starts, is full, or is no gRPC server"),
        (hangs_up, None, "hangs up, .*; or as one that starts, is full, or is no gRPC server"),
        (speaks_http1, None, "speaks HTTP/1, as a web server does: check the port"),
        (speaks_http1_encrypted, "ca", "speaks no HTTP/2, as a web server does: check the port"),
        (alerts(70), "ca", r"speaks no TLS from 1\.2 on: update it"),
        (alerts(40), "ca", "encryption cannot be agreed on"),
    ],
)
def test_a_peer_that_is_no_server_is_not_told_to_be_one_that_distrusts(
    tiny, certificates, behave, client, reason
):
    given = {"ca": certificates / "ca.pem"} if client else {}
    if client == "pair":
        given |= pair(certificates, "client")
    with peer(behave, certificates) as port:
        with (
            CloudClient(f"127.0.0.1:{port}", tiny, security=ClientSecurity(**given)) as to_it,
            pytest.raises(CloudUnavailableError, match=reason) as error,
        ):
            to_it.connect()
        for word in ("believe", "unknown authority", START):
            assert word not in str(error.value)


def test_only_where_nobody_listens_a_server_is_to_be_started(tiny, certificates):
    for security in (ClientSecurity(), ClientSecurity(ca=certificates / "ca.pem")):
        with (
            CloudClient("localhost:1", tiny, security=security) as client,
            pytest.raises(CloudUnavailableError, match=START),
        ):
            client.connect(TIMEOUT_S)
    with (
        CloudClient("nobody.invalid:1", tiny) as client,
        pytest.raises(CloudUnavailableError, match="check the name") as error,
    ):
        client.connect(TIMEOUT_S)
    assert START not in str(error.value)


def test_a_key_of_another_certificate_is_named_on_both_sides(tiny, kinds, user_error):
    cert, key = kinds / "good" / "server.pem", kinds / "strange" / "server-key.pem"
    for use in (
        lambda: ServerSecurity(cert=cert, key=key).credentials(),
        lambda: CloudClient("192.0.2.1:1", tiny, security=ClientSecurity(cert=cert, key=key)),
    ):
        with pytest.raises(CloudError, match=f"{key} is not the key of {cert}"):
            use()
    command = ("partition.server", "--model", tiny.path, "--listen", "127.0.0.1:0")
    assert "is not the key of" in user_error(*command, "--tls-cert", cert, "--tls-key", key)


def test_an_encrypted_key_is_named_and_not_asked_for_at_the_terminal(kinds, tmp_path):
    key = serialization.load_pem_private_key((kinds / "good" / "server-key.pem").read_bytes(), None)
    secret = tmp_path / "secret.pem"
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(CloudError, match=r"secret\.pem cannot be used .*not encrypted"):
        ServerSecurity(cert=kinds / "good" / "server.pem", key=secret).credentials()


def test_a_server_warns_of_its_certificates_end_at_the_start_and_while_it_runs(
    tiny, runtime, kinds, caplog
):
    day = datetime.timedelta(days=1)
    now = [datetime.datetime.now(datetime.timezone.utc)]
    good, expired = kinds / "good" / "server.pem", kinds / "expired" / "server.pem"
    watch = CertificateWatch([good], lambda: now[0])
    watch.warn()
    assert caplog.messages == []
    now[0] += 800 * day
    watch.warn()
    assert f"{good} ends in 24 days" in caplog.messages[-1]
    now[0] += 26 * day
    watch.warn()
    assert f"{good} has ended" in caplog.messages[-1]
    assert "partition.certificates" in caplog.messages[-1]
    caplog.clear()
    with CloudServer(tiny, runtime, security=ServerSecurity(**pair(kinds / "expired", "server"))):
        assert f"{expired} has ended" in caplog.messages[0]


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
            with pytest.raises(CloudError, match="no token, or none that this server knows"):
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
