"""Self-test of this project on a machine that its authors lack: `sudo python -m hw.selftest`."""
