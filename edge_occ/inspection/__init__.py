"""Pure decisions about one frame and a sequence of frames: no thread, no clock, no input or output."""
