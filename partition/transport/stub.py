"""Client stub of the service that answers requests of a split network, packed and checked."""

from __future__ import annotations

import itertools
import os

import grpc

from partition.codec.encoded import Encoded
from partition.errors import CloudError, WireError
from partition.model.folder import ModelFolder
from partition.model.split_point import SplitPoint
from partition.transport import rpc, wire


class Stub:
    """Methods of a server, and the messages that go there and come back; holds no state of it.

    Args:
        channel: of gRPC.
        address: of the server, to be named.
        folder: the network that it must hold too.

    Attributes:
        hello: gRPC's method; takes `greeting`.
        infer: takes what `request` packs.
        echo: takes any bytes.
    """

    def __init__(self, channel: grpc.Channel, address: str, folder: ModelFolder) -> None:
        self.hello, self.infer, self.echo = (
            channel.unary_unary(rpc.method_path(name)) for name in (rpc.HELLO, rpc.INFER, rpc.ECHO)
        )
        self._address, self._folder = address, folder
        # Two clients must not count alike: a reply of another one's is none of ours.
        self._numbers = itertools.count(int.from_bytes(os.urandom(4), "little"))

    @property
    def greeting(self) -> bytes:
        """Says which network and cut list is asked for."""
        mine = wire.Hello(self._folder.fingerprint, self._folder.cut_list_fingerprint)
        return wire.pack_hello(mine)

    def request(
        self, point: SplitPoint, tensors: tuple[Encoded | wire.Raw, ...]
    ) -> tuple[int, bytes]:
        """Pack a request for the tail of `point`; returns its number and the message.

        Raises:
            WireError: a message cannot carry the tensors.
        """
        number = next(self._numbers) % wire.NUMBERS
        request = wire.Request(self._folder.fingerprint, point.index, tensors, number)
        return number, wire.pack_request(request)

    def reply(self, answer: bytes, number: int) -> wire.Reply:
        """Unpack the answer to request `number`.

        Raises:
            CloudError: it is none, or of another request.
        """
        try:
            reply = wire.unpack_reply(answer)
            if reply.number != number:
                raise WireError("it belongs to another request")
        except WireError as error:
            raise CloudError(f"{self._address} sent a broken reply: {error}") from error
        return reply

    def load(self, answer: bytes) -> float:
        """The server's load, 0..1, from the answer to an echo.

        Raises:
            CloudError: it is none.
        """
        try:
            return wire.unpack_echo(answer)
        except WireError as error:
            raise CloudError(f"{self._address} sent a broken reply: {error}") from error

    def check_hello(self, answer: bytes) -> None:
        """Make sure that a server of this protocol answered the greeting.

        Raises:
            CloudError: something else did.
        """
        try:
            wire.unpack_hello(answer)
        except WireError as error:
            reason = f"{self._address} answers, but not as a dvfo server: {error}"
            raise CloudError(reason) from error
