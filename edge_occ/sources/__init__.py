"""Sources of frames: cameras, video files and folders of pictures."""
