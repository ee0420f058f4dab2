"""What a driven board shows of itself: Prometheus, a page, and a screen for a terminal."""
