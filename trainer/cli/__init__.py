"""Commands of the trainer, which ``edge-occ`` finds as entry points.

Nothing here imports torch, or any other package of an extra, before a command is called.
"""
