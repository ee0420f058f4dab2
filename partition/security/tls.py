"""TLS credentials: certificates and tokens of both ends of the link."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from common.regular_file import read_bytes
from partition.errors import CloudError, CloudUnavailableError
from partition.security.tls_check import check_pair, client_fault
from partition.transport import grpc_options, refusals, rpc, threads

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
            CloudError: a file cannot be used.
        """
        if self.cert is None or self.key is None:
            return None
        pair = _pem(self.key), _pem(self.cert)
        check_pair(self.cert, self.key)
        authority = _pem(self.client_ca) if self.client_ca else None
        return grpc.ssl_server_credentials([pair], authority, authority is not None)

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
    proxy: bool = False
    """Reach other machines through the proxy that `https_proxy` or `http_proxy` names."""

    def __post_init__(self) -> None:
        """Refuse half of a pair, and what contradicts itself."""
        if (self.cert is None) != (self.key is None):
            raise CloudError("a certificate needs its key: give --tls-cert and --tls-key")
        if self.insecure and (self.ca or self.cert):
            raise CloudError("--insecure and certificates exclude each other: drop one of them")
        if self.insecure and self.proxy:
            raise CloudError("a proxy would read what is not encrypted: drop --insecure or --proxy")

    def is_encrypted(self, host: str) -> bool:
        """Whether a channel to a host is."""
        return bool(self.ca or self.cert) or not (self.insecure or is_loopback(host))

    def channel(self, address: str, options: grpc_options.Options) -> Any:
        """A gRPC channel, past any proxy unless that is asked for.

        Args:
            address: HOST:PORT.
            options: of the channel.

        Raises:
            CloudError: the address has another form, a file cannot be used, a token would cross the
                network in the clear, or there is no room for gRPC's threads.
        """
        host, _ = rpc.parse_address(address)
        threads.check_free()
        if not self.proxy or is_loopback(host):
            options = (*options, grpc_options.NO_PROXY)
        if not self.is_encrypted(host):
            if self.token_file and not is_loopback(host):
                raise CloudError("a token in the clear can be stolen: drop --insecure")
            return grpc.insecure_channel(address, options=options)
        credentials = grpc.ssl_channel_credentials(
            _pem(self.ca) if self.ca else None,
            _pem(self.key) if self.key else None,
            _pem(self.cert) if self.cert else None,
        )
        if self.cert is not None and self.key is not None:
            check_pair(self.cert, self.key)
        return grpc.secure_channel(address, credentials, options=options)

    def explain(self, error: Any, address: str, timeout_s: float) -> CloudError:
        """The exception for a `grpc.RpcError` of a call to `address`.

        Args:
            error: of the call.
            address: HOST:PORT.
            timeout_s: that the call had.
        """
        host, _ = rpc.parse_address(address)
        if not (self.is_encrypted(host) and refusals.hung_up(error)):
            return refusals.explain(error, address, timeout_s)
        if self.cert is None or self.key is None:
            remedy = "give --tls-cert and --tls-key a certificate of the server's --client-ca"
        elif fault := client_fault(self.cert, self.key, self.ca):
            remedy = f"{self.cert} {fault}, so give one of the server's --client-ca that is valid"
        else:
            remedy = f"{self.cert} is perhaps not of the authority of the server's --client-ca"
        return CloudUnavailableError(
            f"the cloud server at {address} does not believe this client: {remedy}"
        )

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with every call.

        Raises:
            CloudError: the token file cannot be read, is empty or holds a short token.
        """
        if self.token_file is None:
            return ()
        return (("authorization", f"Bearer {_tokens(self.token_file)[0]}"),)


UNENCRYPTED = ClientSecurity(insecure=True)
"""Reaches any address in the clear, past a proxy, and shows no token."""


class TokenCheck:
    """Knows the tokens of which a client must show one."""

    def __init__(self, tokens: list[str]) -> None:
        self._digests = [_digest(f"Bearer {token}") for token in tokens]

    def is_known(self, metadata: Any) -> bool:
        """Whether what came with a call holds one of them."""
        shown = dict(metadata).get("authorization", "")
        digest = _digest(str(shown))
        # All of them, always: how long it takes must not tell which one was near.
        return sum(hmac.compare_digest(digest, each) for each in self._digests) > 0


def is_loopback(host: str) -> bool:
    """Whether an address can only be reached from this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path)
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
