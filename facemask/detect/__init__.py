"""Detect faces in pictures, and how each wears its mask."""
