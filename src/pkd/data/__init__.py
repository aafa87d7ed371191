"""Read text and labels; tokenize them into rows."""
