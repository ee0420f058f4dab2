"""Every network that was cut, head plus tail against the whole, as a page."""
