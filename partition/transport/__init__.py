"""Messages, encryption and link estimates."""
