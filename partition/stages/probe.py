"""Active probe: measures the rate of a link that no frame takes, with a few 128 kB messages."""

from __future__ import annotations

import grpc

from partition.security.tls import UNENCRYPTED
from partition.stages.errors import StageLostError
from partition.stages.session import PROBE, method_path
from partition.transport import grpc_options
from partition.transport.link_estimator import LinkEstimator

PROBE_BYTES = 1 << 17
"""Takes a quarter of a second at 4 Mbit/s, and more than a busy processor adds at 100."""
_TRIES = 3


def link_rate_bps(address: str, timeout_s: float) -> float:
    """Measure the rate to a stage or a line's end, next to whatever else is sent, bit/s.

    A link that does not get a message through in time is as slow as that: frames that cannot
    take wait in it.

    Args:
        address: HOST:PORT.
        timeout_s: for each message.

    Raises:
        StageLostError: no stage answers there.
    """
    estimator = LinkEstimator()
    with UNENCRYPTED.channel(address, grpc_options.SIZES) as channel:
        call = channel.unary_unary(method_path(PROBE))

        def send(message: bytes) -> None:
            call(message, timeout=timeout_s)

        try:
            estimator.probe(send, 0, _TRIES)
            estimator.probe(send, PROBE_BYTES, _TRIES)
        except grpc.RpcError as error:
            # The second: the receiver has given up waiting for the message.
            if error.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED):
                return 8 * PROBE_BYTES / timeout_s
            raise StageLostError(f"stage {address} does not answer: {error.code().name}") from error
    estimate = estimator.estimate()
    assert estimate is not None  # the large message gave the rate
    return estimate.rate_bps
