"""What every package needs and none owns: how commands end, and typed reading of files."""
