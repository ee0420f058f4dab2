"""Addresses for HTTP: ports of this machine, and the files of Unix sockets."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from partition.edge.http import listening
from partition.edge.http.listening import HttpListener, parse_http_address
from partition.edge.local_service import LocalService
from partition.errors import CloudError
from tests.partition.local_board import PATIENCE_S


@pytest.fixture
def path(tmp_path):
    return tmp_path / "dvfo.sock"


def listen(path):
    return HttpListener(parse_http_address(f"unix:{path}"))


def left_behind(path):
    """The file of a socket whose program was killed."""
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()


def connect(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE_S)
        sock.connect(str(path))


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_a_unix_socket_is_open_to_owner_and_group_and_gone_at_the_end(path, mask):
    before = os.umask(mask)
    try:
        listener = listen(path)
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert listener.address == f"unix:{path}"
    connect(path)
    listener.close()
    assert not path.exists()


def test_a_dead_program_s_socket_is_replaced(path):
    left_behind(path)
    listener = listen(path)
    connect(path)
    listener.close()


def test_a_live_program_s_socket_is_left_to_it(path):
    listener = listen(path)
    with pytest.raises(CloudError, match="another program listens there"):
        listen(path)
    connect(path)
    listener.close()


def test_one_whose_queue_is_full_is_alive(path):
    with socket.socket(socket.AF_UNIX) as full, socket.socket(socket.AF_UNIX) as first:
        full.bind(str(path))
        full.listen(0)
        first.connect(str(path))
        with pytest.raises(CloudError, match="another program listens there"):
            listen(path)
        assert path.exists()


def test_a_socket_for_messages_is_somebody_else_s(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        with pytest.raises(CloudError, match="another program listens there"):
            listen(path)
    assert path.exists()


@pytest.mark.parametrize("kind", ["file", "folder", "pipe", "link to a socket", "dangling link"])
def test_what_is_no_socket_is_never_removed(path, tmp_path, kind):
    if kind == "file":
        path.write_text("precious")
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        if kind == "link to a socket":
            left_behind(tmp_path / "other")
        path.symlink_to(tmp_path / "other")
    before = path.lstat()
    with pytest.raises(CloudError, match="is no socket"):
        listen(path)
    assert path.lstat().st_ino == before.st_ino
    assert kind != "file" or path.read_text() == "precious"


def test_at_the_end_another_program_s_socket_stays(path):
    listener = listen(path)
    path.unlink()
    left_behind(path)
    listener.close()
    assert path.exists()


def test_to_end_twice_takes_nobody_s_socket(path):
    listener = listen(path)
    listener.close()
    left_behind(path)  # with the same inode, as it may be
    listener.close()
    assert path.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to any group")
def test_a_folder_can_name_the_group_that_may_ask(path, tmp_path):
    os.chown(tmp_path, -1, 65534)
    tmp_path.chmod(0o2750)
    listener = listen(path)
    assert (path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) == (65534, 0o660)
    listener.close()


def test_a_path_that_appears_meanwhile_is_found(path):
    address = parse_http_address(f"unix:{path}")
    path.write_text("precious")
    with pytest.raises(CloudError, match="is no socket"):
        HttpListener(address)
    assert path.read_text() == "precious"


def test_of_programs_that_start_together_one_has_the_path(path):
    """Threads stand for them: each opens and locks files of its own."""
    left_behind(path)
    for _ in range(5):
        start = threading.Barrier(4)
        with ThreadPoolExecutor(4) as programs:
            outcomes = list(programs.map(_race, [path] * 4, [start] * 4))
        assert sorted(outcomes) == [False, False, False, True]


def _race(path, start):
    start.wait(PATIENCE_S)
    try:
        listener = listen(path)
    except CloudError:
        listener = None
    start.wait(PATIENCE_S)  # whoever has it keeps it until all have tried
    if listener is not None:
        listener.close()
    return listener is not None


def test_a_folder_that_somebody_holds_is_not_waited_for_for_ever(path, tmp_path, monkeypatch):
    monkeypatch.setattr(listening, "_LOCK_S", 0.1)
    held = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        with pytest.raises(CloudError, match=f"has locked {tmp_path}"):
            listen(path)
    finally:
        os.close(held)
    listen(path).close()


def test_whoever_waits_for_a_connection_is_woken_at_the_end(path):
    for address in (f"unix:{path}", "127.0.0.1:0"):
        listener = HttpListener(parse_http_address(address))
        woken = threading.Event()

        def accept(listener=listener, woken=woken):
            with pytest.raises(OSError, match=r"."):
                listener.socket.accept()
            woken.set()

        thread = threading.Thread(target=accept)
        thread.start()
        listener.close()
        thread.join(PATIENCE_S)
        assert woken.is_set()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("unix:", "'unix:' names no file"),
        ("unix:a\0b", "names no file"),
        (f"unix:/{'x' * 107}", "has 108 bytes, the system takes 107"),
        ("unix:/nowhere/at/all", "No such file or directory"),
        ("unix:/proc/dvfo.sock", "give a path in a folder where this program may make files"),
        ("0.0.0.0:8000", r"answer HTTP on 127\.0\.0\.1:8000"),
        ("[::]:8000", "reachable from other machines"),
        ("8000", "HOST:PORT"),
        ("127.0.0.1:66666", "HOST:PORT"),
        ("/run/dvfo.sock", "HOST:PORT"),
    ],
)
def test_what_is_no_address_is_one_sentence(text, reason):
    with pytest.raises(CloudError, match=reason):
        HttpListener(parse_http_address(text))


def test_a_port_that_is_taken_is_named():
    listener = HttpListener(parse_http_address("127.0.0.1:0"))
    taken = listener.address.removeprefix("http://")
    with pytest.raises(CloudError, match="choose another address or port"):
        parse_http_address(taken)
    listener.close()
    HttpListener(parse_http_address(taken)).close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_folder_that_is_not_this_program_s_is_named():
    # Not tmp_path: pytest closes the folders above it to others, and they would be what is named.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dvfo.sock"
        path.parent.chmod(0o755)
        os.seteuid(65534)
        try:
            with pytest.raises(CloudError, match="where this program may make files"):
                parse_http_address(f"unix:{path}")
        finally:
            os.seteuid(0)
        assert not path.exists()


@pytest.mark.parametrize("address", ["127.0.0.1:8000", "unix:dvfo.sock"])
def test_an_address_that_is_given_twice_is_named(tiny, address):
    with pytest.raises(CloudError, match=f"^{address} is to answer HTTP twice"):
        LocalService(tiny, None, http=(address, address), max_waiting=2)


def test_two_ports_may_be_found_free(tiny):
    service = LocalService(tiny, None, http=("127.0.0.1:0", "127.0.0.1:0"), max_waiting=2)
    service.start()
    assert len(set(service.addresses)) == 2
    service.stop()
