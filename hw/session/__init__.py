"""Session: every change to a machine is saved, journalled, written and restored."""
