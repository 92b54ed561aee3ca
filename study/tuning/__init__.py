"""Trials as a Ray Tune experiment, on a laptop or a cluster. Only this room imports ray."""
