"""From an inspection to the broker: queues, event store, journal and the sender thread."""
