"""Where the faces are in a picture: one module a face detector, all behind one interface."""
