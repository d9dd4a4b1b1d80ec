"""Training, offline, on a workstation: normal images in, a bundle out."""
