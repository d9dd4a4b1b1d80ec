"""``edge-occ reproduce``: the papers' tables, their figures beside ours."""
