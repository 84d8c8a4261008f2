"""Boxes drawn by a person in labelImg, and boxes drawn by a model for a person to correct."""
