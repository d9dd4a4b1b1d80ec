"""Self-supervised tasks of pretraining, one file each."""
