"""The live environment: a board, a link and a server, as they are."""
