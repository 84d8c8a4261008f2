"""All that knows the TensorFlow Object Detection API."""
