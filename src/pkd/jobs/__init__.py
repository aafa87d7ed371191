"""One public verb a file, which bears its name."""
