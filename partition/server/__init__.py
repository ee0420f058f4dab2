"""The cloud's side of split inference: `python -m partition.server`."""
