"""One torch thread per test process: pytest-xdist already uses every core, and bits depend on the thread count."""

import torch

torch.set_num_threads(1)
