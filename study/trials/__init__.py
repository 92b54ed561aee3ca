"""From a Trial to its row: train or load the weights, answer the probes. Only this room unpacks a Trial."""
