"""The default policy: a nominal model, advised by a small network."""
