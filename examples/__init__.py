"""Examples, each a file to copy: `python -m examples.NAME`."""
