"""Classify faces: cut them out of pictures, train a classifier on them, export it and run it."""

MIN_FACE = 8.0
"""Pixels. `make classifier` leaves out boxes with a shorter side of fewer, if MIN_FACE= says nothing else."""
