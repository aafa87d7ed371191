"""What every training here shares, the teacher's too."""
