"""Stage 2: fitting heads and calibrating the threshold on held-out images."""
