"""A face in, its class out: what cuts faces out of pictures, trains a classifier on them and runs it."""
