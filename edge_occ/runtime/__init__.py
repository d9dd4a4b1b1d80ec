"""The running inspector: its composition, settings, loop, heartbeat and benchmark."""
