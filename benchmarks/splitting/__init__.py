"""Where splitting pays: `python -m benchmarks.splitting`."""
