"""HTTP for a board's own applications: the Open Inference Protocol, and pictures as files."""
