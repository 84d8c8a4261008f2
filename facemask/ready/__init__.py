"""The detector that comes with facemask: its files, and the file that describes them."""
