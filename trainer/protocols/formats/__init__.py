"""Readers of the files that the data sets are published in."""
