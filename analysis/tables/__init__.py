"""A results folder as tables: trials and what they answered, then cells, observations and pairs of cells."""
