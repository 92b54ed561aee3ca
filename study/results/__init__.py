"""All that is on disk: rows and their schema, weights, checkpoints, and the lock of a running command."""
