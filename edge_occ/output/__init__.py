"""Where inspections go beside MQTT, and the pictures that are made of them."""
