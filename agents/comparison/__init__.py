"""Proof on a board: two policies in turns, block by block, until the difference is clear."""
