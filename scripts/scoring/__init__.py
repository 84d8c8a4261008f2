"""How good detections are: figures, curves, and the pages that show them."""
