"""What makes a run trustworthy: its layout, stages, seals, locks, fingerprints and disk space; knows no model."""
