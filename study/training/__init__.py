"""A network's weights: the training loop, alone or for several networks at once. No Trial, no disk, no ray."""
