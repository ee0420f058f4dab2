"""Lines that a service prints about itself."""

from __future__ import annotations

from hw.outage import Outage


class ShownLines:
    """Prints lines that need not be read for requests to be answered."""

    def __init__(self) -> None:
        self._printing = Outage("printing what happens", "the service goes on unseen")

    def show(self, line: str) -> None:
        """Print one.

        Raises:
            BrokenPipeError: the reader of the output is gone.
        """
        try:
            print(line, flush=True)
        except BrokenPipeError:
            raise
        except OSError as error:  # a log on a full disk
            self._printing.failed(error)
        else:
            self._printing.worked()
