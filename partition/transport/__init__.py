"""Messages, encryption and what is known of a link."""
