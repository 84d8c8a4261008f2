"""Convert an exported SavedModel to other formats and lower precisions. Each is checked before it is kept."""
