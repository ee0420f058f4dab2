"""Asking a driven board for its state, over HTTP."""

from __future__ import annotations

import http.client
import socket
import threading
from contextlib import suppress
from typing import Any

from agents.errors import AgentError
from agents.watch.protocol import STATE_PATH
from partition import json_file
from partition.transport import rpc

_PATIENCE_S = 5.0
"""For the whole answer, however slowly it comes."""
_LARGEST_BYTES = 2**22
"""A hundred times a state with ten minutes of history."""


class BoardSilentError(AgentError):
    """No driven board answers at an address."""


def state_of(address: str) -> dict[str, Any]:
    """The state of the board that `deploy.py --metrics HOST:PORT` drives.

    Args:
        address: HOST:PORT.

    Returns:
        As `BoardState.document`; what a stranger answers may hold anything.

    Raises:
        CloudError: the address has another form.
        BoardSilentError: nobody answers there, or somebody else.
    """
    host, port = rpc.parse_address(address)
    try:
        status, body = _answer(host, port)
    except (OSError, UnicodeError, ValueError, http.client.HTTPException) as error:
        raise BoardSilentError(
            f"nobody answers at {address} ({error or type(error).__name__}): start deploy.py with "
            f"--metrics {address}, or give the address that it was started with"
        ) from None
    if status == http.client.SERVICE_UNAVAILABLE:
        raise BoardSilentError(f"what answers at {address} does not yet drive a board")
    try:
        state = json_file.parse(body)
    except ValueError:
        state = None
    if status != http.client.OK or not isinstance(state, dict) or "history" not in state:
        raise stranger(address)
    return state


def stranger(address: str) -> BoardSilentError:
    """The error for an answer that is no state of a board."""
    return BoardSilentError(
        f"what answers at {address} is no board that deploy.py drives, or of another version"
    )


def printable(value: Any) -> Any:
    """The same with a replacement for every character that a terminal would obey, not show."""
    if isinstance(value, str):
        return "".join(
            each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in value
        )
    if isinstance(value, dict):
        return {printable(key): printable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [printable(each) for each in value]
    return value


def _answer(host: str, port: int) -> tuple[int, bytes]:
    """Status and body.

    Raises:
        OSError, ValueError, http.client.HTTPException: there is none, or it comes too slowly.
    """
    connection = http.client.HTTPConnection(host, port, timeout=_PATIENCE_S)
    connection.connect()
    taken = connection.sock  # by the answer, once it has begun
    ending = threading.Timer(_PATIENCE_S, _shut, (taken,))
    ending.daemon = True
    ending.start()
    try:
        connection.request("GET", STATE_PATH)
        answer = connection.getresponse()
        body = answer.read(_LARGEST_BYTES)
        if answer.length:
            raise http.client.IncompleteRead(body, answer.length)
        return answer.status, body
    finally:
        ending.cancel()
        connection.close()


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
