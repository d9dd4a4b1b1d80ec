"""Fitting heads and calibrating the threshold on held-out images."""
