"""Network files damaged again and again: preparation may not hang, crash or show a traceback."""
