"""Encoders: networks from an image to a grid of features, one file each."""
