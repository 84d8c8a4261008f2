"""What every step needs and that knows nothing of masks, models or data sets."""
