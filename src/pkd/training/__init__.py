"""Training shared by teacher and students."""
