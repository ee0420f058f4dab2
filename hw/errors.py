"""Errors of the hardware package."""

from __future__ import annotations


class HardwareError(Exception):
    """Base of all errors raised by `hw`; the message names the thing, the value and the remedy."""


class BoardNotFoundError(HardwareError):
    """No such board, or this machine is not one."""


class DeviceFileError(HardwareError):
    """A device model file is missing or malformed."""


class PermissionDeniedError(HardwareError):
    """The kernel refused access to a control or a sensor."""


class UnsupportedError(HardwareError):
    """The board lacks what was asked of it."""


class HoldUnsupportedError(UnsupportedError):
    """A clock cannot be held in the way that was asked for."""


class FrequencyRejectedError(HardwareError):
    """A domain did not take the requested frequency."""


class SensorReadError(HardwareError):
    """A sensor or a control file could not be read, or held no number."""


class CappedError(FrequencyRejectedError):
    """A domain took the request, but something else holds it lower for now."""


class JournalError(HardwareError):
    """The journal of changed settings cannot be written or understood."""


class BusyError(HardwareError):
    """Another process drives this machine."""


class WindowTooShortError(SensorReadError):
    """An energy window is shorter than its sensors can resolve."""


class ImplausibleReadingError(SensorReadError):
    """A sensor answered what cannot be."""


class UnreadWindowError(SensorReadError):
    """A sensor was asked too seldom in an energy window, though it answered each time."""
