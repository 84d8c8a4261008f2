"""Classify faces: cut them out of pictures, train a classifier on them, export it and run it."""
