"""The rate of a link that no frame takes: a few messages to whoever listens at its end."""

from __future__ import annotations

import time

import grpc

from partition.stages.errors import StageLostError
from partition.stages.session import PROBE, method_path
from partition.transport import grpc_options
from partition.transport.tls import ClientSecurity

PROBE_BYTES = 1 << 17
"""Takes a quarter of a second at 4 Mbit/s, and more than a busy processor adds at 100."""
_TRIES = 3


def link_rate_bps(address: str, timeout_s: float, security: ClientSecurity | None = None) -> float:
    """Measure the rate to a stage or a line's end, beside whatever else is sent.

    What other traffic or a busy processor adds makes a link look slower, never faster, so the
    fastest try counts, less the fastest round trip of nothing. A link that does not get a message
    through in time is as slow as that: frames that nobody can take wait in it.

    Args:
        address: HOST:PORT.
        timeout_s: for each message.
        security: certificates and token; None encrypts nothing.

    Raises:
        StageLostError: nobody answers there.
    """
    security = security or ClientSecurity(insecure=True)
    with security.channel(address, grpc_options.SIZES) as channel:
        call = channel.unary_unary(method_path(PROBE))

        def fastest_s(message: bytes) -> float:
            times_s = []
            for _ in range(_TRIES):
                began_s = time.monotonic()
                call(message, timeout=timeout_s, metadata=security.metadata())
                times_s.append(time.monotonic() - began_s)
            return min(times_s)

        try:
            nothing_s, something_s = fastest_s(b""), fastest_s(bytes(PROBE_BYTES))
        except grpc.RpcError as error:
            # The second: whoever listens has given up waiting for the message.
            if error.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED):
                return 8 * PROBE_BYTES / timeout_s
            raise StageLostError(f"stage {address} does not answer: {error.code().name}") from error
    return 8 * PROBE_BYTES / max(something_s - nothing_s, 1e-9)
