"""Networks prepared as folders of cuts: `python -m partition.prepare`."""
