"""Registry of quantisers: a new one is a module and a line in `QUANTISERS`."""

from __future__ import annotations

from partition.codec.int4 import INT4
from partition.codec.int8 import INT8
from partition.codec.quantise import Quantiser
from partition.errors import WireError

QUANTISERS: tuple[Quantiser, ...] = (
    INT8,
    INT4,
)
"""The first one is the default."""
DEFAULT = QUANTISERS[0]
NO_CODEC = "none"
"""Where codecs go by name: float32 as it is."""


def all_bits() -> tuple[int, ...]:
    """Bits of each quantiser."""
    return tuple(each.bits for each in QUANTISERS)


def codec_names() -> tuple[str, ...]:
    """What a cluster file or a session of stages may ask for."""
    return (NO_CODEC, *(each.name for each in QUANTISERS))


def of_bits(bits: int) -> Quantiser:
    """The quantiser of so many bits.

    Raises:
        WireError: there is none.
    """
    for each in QUANTISERS:
        if each.bits == bits:
            return each
    raise WireError(f"codec of {bits} bits: choose {' or '.join(map(str, all_bits()))}")


def of_name(name: str) -> Quantiser | None:
    """The quantiser of one of `codec_names`; None for `NO_CODEC`."""
    return next((each for each in QUANTISERS if each.name == name), None)


def of_wire_type(code: int) -> Quantiser | None:
    """The quantiser of a tensor in a message; None: not a quantised one."""
    return next((each for each in QUANTISERS if each.wire_type == code), None)
