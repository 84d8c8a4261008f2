"""Pictures, folders, videos and cameras: read, drawn on, written."""
