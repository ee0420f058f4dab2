"""TLS, tokens and the options for them."""
