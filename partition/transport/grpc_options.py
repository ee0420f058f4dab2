"""gRPC options of every channel and server, side by side because both ends must agree."""

from __future__ import annotations

from partition.transport import wire

Options = tuple[tuple[str, int], ...]


def _keepalive(silence_s: int, patience_s: int) -> Options:
    """Ask after so long a silence whether a peer is there, and give it so long to answer."""
    return (
        ("grpc.keepalive_time_ms", 1_000 * silence_s),
        ("grpc.keepalive_timeout_ms", 1_000 * patience_s),
        # Where something still acknowledges what a lost peer is sent (NAT, proxy), this decides.
        ("grpc.http2.ping_timeout_ms", 1_000 * patience_s),
    )


SIZES: Options = (
    ("grpc.max_receive_message_length", wire.MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", wire.MAX_MESSAGE_BYTES),
)
NO_PROXY = ("grpc.enable_http_proxy", 0)
"""gRPC else sends everything through the proxy that `http_proxy` names, loopback included."""
_OWN_CONNECTION = (
    ("grpc.enable_retries", 0),
    # Two clients of one process must not share a connection and its back-off.
    ("grpc.use_local_subchannel_pool", 1),
)
LOCAL_CLIENT: Options = (
    *SIZES,
    # A server that is started again is found within half a second.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 300),
)
CLIENT: Options = (
    *LOCAL_CLIENT,
    *_OWN_CONNECTION,
    # So is one behind a network: this is also the time that a connection may take to be made, TLS
    # included.
    ("grpc.min_reconnect_backoff_ms", 1_000),
    # A connection that swallows what is sent is given up after two seconds.
    *_keepalive(10, 2),
)
STAGE_CLIENT: Options = (
    *SIZES,
    *_OWN_CONNECTION,
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    # A device that has lost its power says nothing; a slow link delays the answer by some frames.
    *_keepalive(5, 5),
    ("grpc.http2.max_pings_without_data", 0),
)
CALLS_AT_ONCE = 8
"""Of one client; more wait for their turn on its side."""
SERVER: Options = (
    # Without it a second server on the same port would start and steal requests.
    ("grpc.so_reuseport", 0),
    # What waits in gRPC waits in the order in which it came, out of reach of fair turns: of boards
    # beside twenty connections with sixty calls each 2 % had their answers in time without a limit,
    # nine tenths with three times this one, and all with it (results/server.md).
    ("grpc.max_concurrent_streams", 2 * CALLS_AT_ONCE),
    # Clients ask whether an idle connection is alive.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1_000),
    # A peer that has vanished, or never says anything, must not keep a connection.
    *_keepalive(20, 10),
    ("grpc.max_connection_idle_ms", 60_000),
    ("grpc.server_handshake_timeout_ms", 5_000),
)
LOCAL_SERVER: Options = (
    # Applications of this machine share connections, and none of them is a flood.
    ("grpc.max_concurrent_streams", 128),
)
"""In addition to or in place of `SERVER`'s, as the next ones are."""
STAGE_SERVER: Options = (
    *SIZES,
    # The stage before asks more often while a large frame is under way.
    ("grpc.http2.max_ping_strikes", 0),
    # An upstream that has lost its power must not hold the stage.
    *_keepalive(5, 5),
)
"""In addition to or in place of `SERVER`'s."""
