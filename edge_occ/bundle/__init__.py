"""The bundle: its archive, manifest and tensors, its calibrated threshold, and its engine on this machine."""
