"""Text becomes token rows."""
