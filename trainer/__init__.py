"""Training, offline, on a workstation: normal images in, a bundle out."""

import engines  # noqa: F401 - switches off the telemetry of the runtimes, before any module here imports one
