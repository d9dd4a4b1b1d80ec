"""Runtimes that turn a bundle's graph into scores on this machine; numpy and one runtime a file."""
