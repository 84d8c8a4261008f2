"""Watching cameras: rules on tracked faces, an outbox of events, actions, and statistics without pictures."""
