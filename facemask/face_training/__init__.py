"""Fine-tune the face detector of two stages, YuNet: read and write its network, views, targets, loss, loop, export."""
