"""A picture in, boxes out."""
