"""Checks of one's own certificate, before a connection or without the peer's help."""

from __future__ import annotations

import ssl
from pathlib import Path

from partition.errors import CloudError

_EXPIRED, _NOT_YET_VALID, _WRONG_PURPOSE = 10, 9, 26  # X509_V_ERR_* of OpenSSL


def check_pair(cert: Path, key: Path) -> None:
    """Make sure that a key belongs to a certificate.

    Raises:
        CloudError: it does not, or one of the two cannot be used.
    """
    try:
        _load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), cert, key)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise CloudError(
                f"{key} is not the key of {cert}: give the pair that was made together"
            ) from error
        raise CloudError(
            f"{cert} and {key} cannot be used ({error.reason or error}): give a certificate and "
            "its key as PEM, not encrypted"
        ) from error


def client_fault(cert: Path, key: Path, authority: Path | None) -> str | None:
    """Why a server would not believe a client's certificate; None if it would.

    gRPC's servers hang up without a word. So the handshake is rehearsed in memory, with the
    authority that the server's own certificate has.
    """
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ours.check_hostname, ours.verify_mode = False, ssl.CERT_NONE
    theirs.verify_mode = ssl.CERT_REQUIRED
    try:
        for context in (theirs, ours):
            _load(context, cert, key)
        if authority is None:
            theirs.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        else:
            theirs.load_verify_locations(authority)
        _shake_hands(theirs, ours)
    except ssl.SSLCertVerificationError as error:
        match error.verify_code:
            case code if code == _EXPIRED:
                return "has expired"
            case code if code == _NOT_YET_VALID:
                return "is not valid yet by this machine's clock"
            case code if code == _WRONG_PURPOSE:
                return "is none for a client"
        return f"is not of {authority or 'a well-known authority'}"
    except OSError as error:
        return f"cannot be used ({error})"
    return None


def _load(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    context.load_cert_chain(cert, key, password=lambda: "")  # else OpenSSL asks the terminal


def _shake_hands(theirs: ssl.SSLContext, ours: ssl.SSLContext) -> None:
    to_them, to_us = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = theirs.wrap_bio(to_them, to_us, server_side=True)
    client = ours.wrap_bio(to_us, to_them)
    waiting = [client, server]
    for _ in range(8):  # a handshake takes three flights
        for each in list(waiting):
            try:
                each.do_handshake()
                waiting.remove(each)
            except ssl.SSLWantReadError:
                continue
        if not waiting:
            return
