"""What happens to boards from outside: scenarios and the random processes behind them."""
