"""How good detections are: metrics, curves, and the pages that show them."""
