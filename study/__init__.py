"""Training, attacks and curvature as Ray Tune trials: from a grid of trials to one Parquet row each."""
