"""What makes a file trustworthy; knows no model."""
