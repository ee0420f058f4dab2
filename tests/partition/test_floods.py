"""Floods are told from work, and boards get their turn beside them."""

from __future__ import annotations

import gc
import socket
import threading
import time
import weakref

import pytest

from partition.codec.codec import Codec
from partition.edge.client import CloudClient
from partition.errors import CloudError, ServerBusyError
from partition.listener import fair_pool, kernel_filter, peers
from partition.listener.conduct import Bucket, ConductBook, Seen
from partition.listener.fair_pool import FairPool
from partition.listener.peers import Peer, Turns, who_gives_way
from partition.model.runtime import random_inputs
from partition.security.tls import ClientSecurity
from partition.server.batching import BatchQueue
from tests.partition.floods import Target, flood
from tests.partition.strangers import check_health, server_process

PATIENCE_S = 15.0
GREEDY = [peers.parse(f"ipv4:192.0.2.1:{port}") for port in (1, 2, 3)]
BOARD = peers.parse("ipv4:192.0.2.9:1")


class TestPeers:
    @pytest.mark.parametrize(
        ("connection", "address"),
        [
            ("ipv4:192.0.2.1:40000", "192.0.2.1"),
            ("ipv6:%5B2001:db8::7%5D:40000", "2001:db8::"),
            ("ipv6:[2001:db8::8]:1", "2001:db8::"),
            ("ipv6:%5B2001:db8:0:1::7%5D:40000", "2001:db8:0:1::"),
            ("ipv6:%5B::ffff:192.0.2.1%5D:1", "192.0.2.1"),
            ("ipv6:%5Bfe80::1%25eth0%5D:1", "fe80::"),
            ("unix:/tmp/x", ""),
            ("", ""),
        ],
    )
    def test_an_address_is_that_of_a_site(self, connection, address):
        assert peers.parse(connection).address == address

    def test_a_socket_and_grpc_name_a_peer_alike(self):
        assert peers.connection_name("::ffff:192.0.2.1", 7) == "ipv4:192.0.2.1:7"
        assert peers.connection_name("2001:db8::7", 7) == "ipv6:%5B2001:db8::7%5D:7"

    def test_who_has_most_gives_way_and_nobody_to_himself(self):
        assert who_gives_way([*GREEDY, BOARD], BOARD) in GREEDY
        assert who_gives_way([*GREEDY, BOARD], GREEDY[0]) is None
        assert who_gives_way([GREEDY[0], GREEDY[1], GREEDY[1]], GREEDY[2]) == GREEDY[1]

    def test_addresses_take_turns_and_in_them_connections(self):
        turns, waiting = Turns(), [GREEDY[0], GREEDY[0], GREEDY[1], BOARD, BOARD]
        order = []
        while waiting:
            order.append(turns.next(waiting, lambda peer: peer))
            waiting.remove(order[-1])
        assert order == [GREEDY[0], BOARD, GREEDY[1], BOARD, GREEDY[0]]

    @pytest.mark.parametrize("of_one_address", [True, False])
    def test_who_stays_connected_has_turns_beside_many_who_come_anew(self, of_one_address):
        turns, waiting, order = Turns(), [*GREEDY[:2], BOARD], []
        for i in range(21):
            order.append(turns.next(waiting, lambda peer: peer))
            waiting.remove(order[-1])
            new = Peer(BOARD.address if of_one_address else f"198.51.100.{i}", str(i))
            waiting.append(BOARD if order[-1] == BOARD else new)
        assert order.count(BOARD) == 7


class TestConduct:
    @pytest.fixture
    def book(self):
        return ConductBook(Bucket(1_000.0, 10_000.0))

    @staticmethod
    def seen(*found):
        return [Seen(peer, 1 + i, n) for i, (peer, n) in enumerate(found)]

    def test_what_is_answered_is_no_flood_however_much_it_is(self, book):
        for second in range(1, 20):
            for _ in range(2_000):
                book.heard(BOARD, 5_000, second)
                book.answered(BOARD, second)
            verdict = book.look(self.seen((BOARD, second * 2_000 * 5_100)), float(second))
            assert verdict == ([], [])

    def test_bytes_of_no_message_are_a_flood(self, book):
        assert book.look(self.seen((GREEDY[0], 9_000), (BOARD, 9_000)), 1.0).floods == []
        verdict = book.look(self.seen((GREEDY[0], 21_000), (BOARD, 9_500)), 1.1)
        assert verdict == ([GREEDY[0]], ["192.0.2.1"])

    def test_a_large_message_under_way_is_none_and_is_forgotten_when_it_is_whole(self, book):
        for second in range(1, 50):
            assert not book.look(self.seen((BOARD, 9_000 * second - 500)), second - 0.5).floods
            book.heard(BOARD, 9_000, float(second))

    def test_each_call_may_have_a_message_under_way(self, book):
        (seen,) = self.seen((BOARD, 34_000))
        assert not book.look([seen._replace(n_calls=10)], 1.0).floods
        assert book.look([seen], 1.1).floods

    def test_refusals_are_a_flood_from_a_rate_on(self, book):
        for second in range(1, 20):
            for peer, n in ((BOARD, 20), (GREEDY[0], 60)):
                for _ in range(n):
                    book.refused(peer, float(second))
            floods, waiting = book.look(self.seen((BOARD, 10), (GREEDY[0], 10)), float(second))
            assert BOARD not in floods
            if floods:
                break
        assert floods == [GREEDY[0]]
        assert waiting == ["192.0.2.1"]
        assert second < 8

    def test_an_address_waits_longer_each_time_and_is_forgiven_after_a_minute(self, book):
        waits, now_s = [], 1.0
        for _ in range(7):
            book.look(self.seen((GREEDY[0], 1_000_000)), now_s)
            began_s = now_s
            while book.look([], now_s).waiting:
                now_s += 0.25
            waits.append(now_s - began_s)
        assert waits == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
        book.look(self.seen((GREEDY[0], 1_000_000)), now_s + 61.0)
        assert not book.look([], now_s + 64.0).waiting

    def test_where_others_behave_an_address_waits_half_a_second(self, book):
        book.answered(GREEDY[1], 1.0)
        book.look(self.seen((GREEDY[0], 1_000_000), (GREEDY[1], 500)), 1.0)
        assert book.look(self.seen((GREEDY[1], 500)), 1.4).waiting == ["192.0.2.1"]
        assert book.look(self.seen((GREEDY[1], 500)), 1.6).waiting == []

    def test_this_machine_does_not_wait(self, book):
        peer = peers.parse("ipv4:127.0.0.1:7")
        assert book.look(self.seen((peer, 1_000_000)), 1.0) == ([peer], [])

    def test_connections_that_leave_without_a_call_count_together(self, book):
        waiting = []
        for i in range(200):
            now_s = 1.0 + 0.1 * i
            peer = peers.parse(f"ipv4:192.0.2.1:{i}")
            polite = peers.parse(f"ipv4:192.0.2.9:{i}")
            book.answered(polite, now_s)
            waiting = book.look([Seen(peer, i, 100), Seen(polite, 1000 + i, 100)], now_s).waiting
            if waiting:
                break
        assert waiting == ["192.0.2.1"]

    def test_a_port_that_is_taken_again_begins_anew(self, book):
        book.look([Seen(BOARD, 1, 9_000)], 1.0)
        assert not book.look([Seen(BOARD, 2, 9_000)], 1.1).floods


class FakeCall:
    """A call of gRPC as the pool sees it, and the event that holds it."""

    def __init__(self, peer):
        self.name, self.call, self.cancelled = peer, self, False

    def peer(self):
        return self.name.connection.encode()

    def cancel(self):
        self.cancelled = True


class TestFairPool:
    @pytest.fixture
    def ended(self):
        return []

    @pytest.fixture
    def pool(self, ended):
        pool = FairPool(12, 3, ended.append)
        yield pool
        pool.shutdown()

    @pytest.fixture
    def held(self, pool):
        """All places in Python taken, until the event is set."""
        go, inside = threading.Event(), threading.Semaphore(0)

        def hold():
            inside.release()
            go.wait(PATIENCE_S)

        futures = [pool.submit(hold) for _ in range(fair_pool._ACTIVE)]
        for _ in futures:
            assert inside.acquire(timeout=PATIENCE_S)
        yield go
        go.set()
        for future in futures:
            future.result(PATIENCE_S)

    def test_calls_run_in_turn_and_one_too_many_of_a_connection_is_ended(
        self, pool, held, ended, monkeypatch
    ):
        monkeypatch.setattr(fair_pool, "_ACTIVE", 1)
        order = []

        def run(event):
            order.append(event.name)

        events = [FakeCall(GREEDY[0]) for _ in range(4)] + [FakeCall(BOARD), FakeCall(GREEDY[1])]
        futures = [pool.submit(run, event) for event in events]
        assert [event.cancelled for event in events] == [False] * 3 + [True] + [False] * 2
        assert ended == [GREEDY[0]]
        held.set()
        for future in futures:
            future.result(PATIENCE_S)
        assert order.count(GREEDY[0]) == 3
        assert set(order[:2]) <= {GREEDY[0], BOARD}
        assert order.index(BOARD) < 3

    def test_in_a_crowd_a_connection_beside_others_has_a_share(self, ended):
        pool, go = FairPool(1, 1_000, ended.append), threading.Event()
        inside = threading.Event()
        pool.submit(lambda: inside.set() or go.wait(PATIENCE_S))
        assert inside.wait(PATIENCE_S)
        for _ in range(500):  # alone
            pool.submit(bool, FakeCall(GREEDY[0]))
        assert not ended
        for _ in range(fair_pool._SHARE + 1):
            pool.submit(bool, FakeCall(BOARD))
        pool.submit(bool, FakeCall(GREEDY[0]))
        assert ended == [BOARD, GREEDY[0]]
        go.set()
        pool.shutdown()

    def test_the_calls_of_an_ended_connection_are_forgotten(self, pool, held):
        events = [FakeCall(GREEDY[0]), FakeCall(BOARD)]
        ran = []
        futures = [pool.submit(ran.append, event) for event in events]
        pool.forget(GREEDY[0])
        held.set()
        for future in futures:
            future.result(PATIENCE_S)
        assert ran == [events[1]]
        assert events[0].cancelled

    def test_no_thread_holds_a_call_that_has_ended(self, pool):
        """gRPC would count it among those of its connection."""
        calls = [FakeCall(BOARD) for _ in range(20)]
        for future in [pool.submit(bool, call) for call in calls]:
            future.result(PATIENCE_S)
        held = [weakref.ref(call) for call in calls]
        del calls, future
        due_s = time.monotonic() + PATIENCE_S
        while any(ref() is not None for ref in held) and time.monotonic() < due_s:
            gc.collect()  # a FakeCall is its own call
        assert [ref() for ref in held] == [None] * len(held)

    def test_it_shuts_down_while_calls_wait_for_a_place(self, ended):
        pool, go = FairPool(12, 100, ended.append), threading.Event()
        inside = threading.Semaphore(0)

        def wait():
            with fair_pool.aside():
                inside.release()
                assert go.wait(PATIENCE_S)

        def hold():
            inside.release()
            go.wait(PATIENCE_S)

        waiting = [pool.submit(wait) for _ in range(8)]  # eight threads, which are idle afterwards
        for _ in waiting:
            assert inside.acquire(timeout=PATIENCE_S)
        go.set()
        for future in waiting:
            future.result(PATIENCE_S)
        go.clear()
        held = [pool.submit(hold) for _ in range(fair_pool._ACTIVE)]
        for _ in held:
            assert inside.acquire(timeout=PATIENCE_S)
        late = [pool.submit(bool, FakeCall(BOARD)) for _ in range(3)]
        closing = threading.Thread(target=pool.shutdown, daemon=True)
        closing.start()
        time.sleep(0.1)
        go.set()
        closing.join(PATIENCE_S)
        assert not closing.is_alive()
        assert all(future.done() for future in late)

    def test_who_waits_lets_another_in(self, pool):
        go, inside = threading.Event(), threading.Semaphore(0)

        def wait():
            with fair_pool.aside():
                inside.release()
                assert go.wait(PATIENCE_S)

        futures = [pool.submit(wait) for _ in range(2 * fair_pool._ACTIVE)]
        for _ in futures:
            assert inside.acquire(timeout=PATIENCE_S)
        go.set()
        for future in futures:
            future.result(PATIENCE_S)

    def test_an_error_reaches_who_asked_and_the_thread_goes_on(self, pool):
        with pytest.raises(ZeroDivisionError):
            pool.submit(lambda: 1 // 0).result(PATIENCE_S)
        assert pool.submit(lambda: 7).result(PATIENCE_S) == 7


class TestKernelFilter:
    @pytest.mark.parametrize(("host", "refused"), [("127.0.0.1", "127.0.0.66"), ("::1", "::")])
    def test_addresses_are_refused_and_let_in_again(self, host, refused):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, 0), family=family) as listening:
            address = listening.getsockname()[:2]
            source = ("127.0.0.66", 0) if family == socket.AF_INET else None
            kernel_filter.refuse_from(listening, ["192.0.2.1", "2001:db8::", refused])
            with pytest.raises(TimeoutError):
                socket.create_connection(address, 0.2, source_address=source)
            if source:
                socket.create_connection(address, 5.0).close()
            kernel_filter.refuse_from(listening, [])
            socket.create_connection(address, 5.0, source_address=source).close()

    def test_a_full_list_fits(self):
        with socket.create_server(("127.0.0.1", 0)) as listening:
            kernel_filter.refuse_from(listening, [f"2001:db8:0:{i:x}::" for i in range(2_000)])
            socket.create_connection(listening.getsockname(), 5.0).close()


class Doubler:
    """Waits until it may run."""

    max_batch, key = 1, "double"

    def __init__(self):
        self.began, self.go = threading.Semaphore(0), threading.Event()
        self.order = []

    def run(self, requests):
        self.order += requests
        self.began.release()
        assert self.go.wait(PATIENCE_S)
        return [2 * request for request in requests]


def test_a_full_queue_costs_who_has_most_of_it():
    queue, runner, found = BatchQueue(1, max_waiting=3), Doubler(), {}

    def ask(request, peer):
        try:
            found[request] = queue.serve(runner, request, time.monotonic() + PATIENCE_S, peer)
        except ServerBusyError as error:
            found[request] = error

    threads = []

    def begin(request, peer, n_waiting):
        threads.append(threading.Thread(target=ask, args=(request, peer)))
        threads[-1].start()
        give_up_s = time.monotonic() + PATIENCE_S
        while len(queue) != n_waiting and time.monotonic() < give_up_s:
            time.sleep(0.005)

    begin(0, GREEDY[0], 0)
    assert runner.began.acquire(timeout=PATIENCE_S)
    for request, n in ((1, 1), (2, 2), (3, 3)):
        begin(request, GREEDY[0], n)
    begin(4, GREEDY[1], 3)  # another connection of the same address
    begin(5, BOARD, 3)
    runner.go.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert {request for request, answer in found.items() if isinstance(answer, Exception)} < {
        *(1, 2, 3, 4),
    }
    assert found[5] == 10
    assert runner.order.index(5) <= 2  # it came last


def test_a_flood_is_ended_its_address_waits_and_boards_are_served(tiny, tmp_path):
    token_file = tmp_path / "token"
    token_file.write_text("0123456789abcdef" * 2)
    encoded = tuple(map(Codec().encode, random_inputs(tiny)))
    point, served = tiny.split_points[0], 0
    with server_process(tiny, "--token-file", token_file) as (address, process):
        target = Target(address, "127.0.0.66")
        strangers = threading.Thread(target=flood, args=("headers without end", target, 3.0))
        security = ClientSecurity(token_file=token_file)
        with CloudClient(address, tiny, security=security) as client:
            client.connect(PATIENCE_S)
            strangers.start()
            while strangers.is_alive():
                try:
                    client.infer(point, encoded, 1.0)
                    served += 1
                except CloudError:
                    time.sleep(0.05)
                time.sleep(0.05)
            strangers.join(PATIENCE_S)
            check_health(address)
        process.terminate()
        log = process.stderr.read()
    assert served > 0
    assert "127.0.0.66:" in log
    assert "it floods this server: the connection is ended" in log
    assert "refused 127.0.0.66: it flooded this server: new connections have to wait" in log
