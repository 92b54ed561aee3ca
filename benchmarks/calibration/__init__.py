"""What the analysis does in worlds whose truth was planted: false finds, coverage of intervals, power."""
