"""What writes the exported model in other formats: one module each, with a function `write`."""
