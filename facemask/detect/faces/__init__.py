"""Face detectors: one module each, all with the same interface."""
