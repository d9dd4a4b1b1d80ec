"""Commands over MQTT: requests to a running inspector, and its answers."""
