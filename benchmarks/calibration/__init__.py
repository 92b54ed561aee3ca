"""How often the analysis is right on simulated studies: false finds, coverage of intervals, power."""
