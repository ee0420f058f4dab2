"""Asking a driven board for its state, over HTTP."""

from __future__ import annotations

import http.client
from typing import Any

from agents.errors import AgentError
from agents.watch.application import STATE_PATH
from partition import json_file
from partition.transport import rpc

_PATIENCE_S = 5.0
_LARGEST_BYTES = 2**22
"""A hundred times a state with ten minutes of history."""


class BoardSilentError(AgentError):
    """No driven board answers at an address."""


def state_of(address: str) -> dict[str, Any]:
    """The state of the board that `deploy.py --metrics HOST:PORT` drives.

    Args:
        address: HOST:PORT.

    Returns:
        As `BoardState.document`.

    Raises:
        CloudError: the address has another form.
        BoardSilentError: nobody answers there, or somebody else.
    """
    host, port = rpc.parse_address(address)
    connection = http.client.HTTPConnection(host.strip("[]"), port, timeout=_PATIENCE_S)
    try:
        connection.request("GET", STATE_PATH)
        answer = connection.getresponse()
        body = answer.read(_LARGEST_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise BoardSilentError(
            f"nobody answers at {address} ({error or type(error).__name__}): start deploy.py with "
            f"--metrics {address}, or give the address that it was started with"
        ) from None
    finally:
        connection.close()
    if answer.status == http.client.SERVICE_UNAVAILABLE:
        raise BoardSilentError(f"{address}: {body.decode(errors='replace').strip()}")
    try:
        state = json_file.parse(body)
    except ValueError:
        state = None
    if answer.status != http.client.OK or not isinstance(state, dict) or "history" not in state:
        raise BoardSilentError(
            f"what answers at {address} is no board that deploy.py drives, or of another version"
        )
    return state
