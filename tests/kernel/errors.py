"""What goes wrong before a test has run."""


class KernelTestError(Exception):
    """The machine cannot be prepared or started; the message says what to do about it."""
