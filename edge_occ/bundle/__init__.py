"""The bundle: archive, manifest and tensors, checks, Gaussian heads, calibrated threshold, and loading an engine."""
