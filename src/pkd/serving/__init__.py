"""Use of a trained classifier: predict, export, serve, upload."""
