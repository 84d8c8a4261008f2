"""The sample data set's illustrations: a pen, people in masks and without, and the places they stand in."""
