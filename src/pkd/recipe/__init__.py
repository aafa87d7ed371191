"""What the user asks for: plain data, no torch."""
