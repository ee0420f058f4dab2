"""Settings that are saved before they are changed, and given back."""
