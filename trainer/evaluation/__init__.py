"""Labelled sets through the exported graph: metrics, ground truth, pictures."""
