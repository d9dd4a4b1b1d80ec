"""``python -m edge_occ`` is ``edge-occ``."""

from edge_occ.cli import main

main()
