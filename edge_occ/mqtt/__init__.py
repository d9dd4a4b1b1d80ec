"""MQTT: topics, payloads, a publisher that never blocks the frame path, and a subscriber."""
