"""Readers of the published file formats."""
