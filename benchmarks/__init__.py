"""Time and error rates of the study, as ratios against a named peer where there is one. Run from a checkout."""
