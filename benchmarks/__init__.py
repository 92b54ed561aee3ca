"""Measurements, as ratios against a named peer in one run where there is a peer."""
