"""What runs an exported classifier: one module each, importing only its own runtime."""
