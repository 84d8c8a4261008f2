"""What a labelled picture is: read, checked, split, and turned into records."""
