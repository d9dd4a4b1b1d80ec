"""Limits that hold before anything heavy is imported."""

MAX_PIXELS = 200_000_000
"""Largest number of pixels of a frame, a picture or a video.  The largest area cameras have 151 million (14,192 x
10,640), phones 200 million; as 8-bit BGR that is 600 MB.  A file of 1 MB may claim a thousand times as many."""
