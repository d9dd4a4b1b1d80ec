"""One client of one broker: connection, presence, reconnection, and what the broker can do and answers."""
