"""What is done with an event: one file a kind, each with a row in `action_kinds`."""
