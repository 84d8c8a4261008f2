"""The formats of an exported model. Each format has one file, with the function that writes it and its detector.

A file imports its own runtime only, and only inside its functions, so that the table of all of them
(`facemask.detect.runtimes`) costs nothing.
"""
