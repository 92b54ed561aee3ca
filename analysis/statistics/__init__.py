"""Statistics on plain arrays: ranks, intervals, estimates along a curve and the decisions drawn from them."""
