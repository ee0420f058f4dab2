"""Who may talk to whom: certificates and tokens of both ends of the link."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from partition.errors import CloudError

_MIN_TOKEN_CHARACTERS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSecurity:
    """What a server shows, and what it demands of a client."""

    cert: Path | None = None
    """Certificate (chain), PEM; None does not encrypt."""
    key: Path | None = None
    """Its private key, PEM."""
    client_ca: Path | None = None
    """Authority whose certificate a client must show: mutual TLS."""
    token_file: Path | None = None
    """Bearer tokens, one a line, of which a client must show one."""

    def __post_init__(self) -> None:
        """Refuse half of a pair."""
        if (self.cert is None) != (self.key is None):
            raise CloudError("a certificate needs its key: give --tls-cert and --tls-key")
        if self.client_ca is not None and self.cert is None:
            raise CloudError("--client-ca needs encryption: give --tls-cert and --tls-key too")

    def credentials(self) -> Any | None:
        """Credentials for gRPC; None where nothing is encrypted.

        Raises:
            CloudError: a file cannot be read.
        """
        if self.cert is None or self.key is None:
            return None
        authority = _read(self.client_ca) if self.client_ca else None
        return grpc.ssl_server_credentials(
            [(_pem(self.key), _pem(self.cert))], authority, authority is not None
        )

    def tokens(self) -> TokenCheck | None:
        """Check of the tokens; None where none is demanded.

        Raises:
            CloudError: the file cannot be read, is empty or holds a short token.
        """
        return TokenCheck(_tokens(self.token_file)) if self.token_file else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSecurity:
    """What a client believes, and what it shows. By default TLS beyond this machine."""

    ca: Path | None = None
    """Authority of the server's certificate, PEM; None takes the well-known ones."""
    cert: Path | None = None
    """Certificate to show, PEM."""
    key: Path | None = None
    """Its private key, PEM."""
    token_file: Path | None = None
    """File whose first line is the bearer token to show."""
    insecure: bool = False
    """Talk to other machines without encryption."""

    def __post_init__(self) -> None:
        """Refuse half of a pair, and a token in the clear."""
        if (self.cert is None) != (self.key is None):
            raise CloudError("a certificate needs its key: give --tls-cert and --tls-key")
        if self.insecure and (self.ca or self.cert):
            raise CloudError("--insecure and certificates exclude each other: drop one of them")

    def channel(self, host: str, address: str, options: Any) -> Any:
        """A gRPC channel.

        Args:
            host: part of the address.
            address: HOST:PORT.
            options: of the channel.

        Raises:
            CloudError: a file cannot be read, or a token would cross the network in the clear.
        """
        encrypted = bool(self.ca or self.cert) or not (self.insecure or is_loopback(host))
        if not encrypted:
            if self.token_file and not is_loopback(host):
                raise CloudError("a token in the clear can be stolen: drop --insecure")
            return grpc.insecure_channel(address, options=options)
        credentials = grpc.ssl_channel_credentials(
            _pem(self.ca) if self.ca else None,
            _pem(self.key) if self.key else None,
            _pem(self.cert) if self.cert else None,
        )
        return grpc.secure_channel(address, credentials, options=options)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with every call.

        Raises:
            CloudError: the token file cannot be read, is empty or holds a short token.
        """
        if self.token_file is None:
            return ()
        return (("authorization", f"Bearer {_tokens(self.token_file)[0]}"),)


class TokenCheck(grpc.ServerInterceptor):  # type: ignore[misc]
    """Lets calls through that show a known token; health checks need none."""

    def __init__(self, tokens: list[str]) -> None:
        self._digests = [_digest(f"Bearer {token}") for token in tokens]
        self._refuse = grpc.unary_unary_rpc_method_handler(_refuse)

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        """Called by gRPC before each call."""
        if details.method.startswith("/grpc.health.") or self._is_known(details):
            return continuation(details)
        return self._refuse

    def _is_known(self, details: Any) -> bool:
        shown = dict(details.invocation_metadata).get("authorization", "")
        digest = _digest(str(shown))
        # All of them, always: how long it takes must not tell which one was near.
        return sum(hmac.compare_digest(digest, each) for each in self._digests) > 0


def is_loopback(host: str) -> bool:
    """Whether an address can only be reached from this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refuse(_: bytes, context: Any) -> None:
    context.abort(grpc.StatusCode.UNAUTHENTICATED, "no valid token: give --token-file")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CloudError(
            f"cannot read {path} ({error.strerror}): make certificates with python -m "
            "partition.certificates, or give another file"
        ) from error


def _pem(path: Path) -> bytes:
    data = _read(path)
    if b"-----BEGIN " not in data:
        raise CloudError(f"{path} holds no PEM: give a certificate or key in PEM form")
    return data


def _tokens(path: Path) -> list[str]:
    tokens = [line.strip() for line in _read(path).decode(errors="replace").splitlines()]
    tokens = [token for token in tokens if token]
    if (
        not tokens
        or min(map(len, tokens)) < _MIN_TOKEN_CHARACTERS
        or not all(token.isascii() and token.isprintable() for token in tokens)
    ):
        raise CloudError(
            f"{path} must hold tokens of {_MIN_TOKEN_CHARACTERS} or more letters and digits, one "
            "a line: make one with openssl rand -hex 32"
        )
    return tokens
