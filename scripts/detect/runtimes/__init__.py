"""What runs an exported model: one module each, importing only its own runtime."""
