"""Threads and life: the inspection loop, its settings, its heartbeat and its benchmark."""
