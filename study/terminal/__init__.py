"""What the terminal says, and the signals that it sends."""
