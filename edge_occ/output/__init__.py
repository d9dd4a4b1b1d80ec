"""Sinks of inspections other than MQTT, and heatmaps."""
