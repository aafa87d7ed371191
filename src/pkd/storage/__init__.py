"""Sealed folders, fingerprints, locks and disk space; independent of models."""
