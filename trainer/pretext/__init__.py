"""Self-supervised tasks of stage 1, one file each."""
