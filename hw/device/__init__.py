"""Models of devices: latency, power, heat, and the files that hold them."""
