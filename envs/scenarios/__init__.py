"""Scenarios, operating conditions, and the random processes behind them."""
