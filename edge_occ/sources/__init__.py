"""Where frames come from: cameras, video files and folders of pictures."""
