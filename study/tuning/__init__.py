"""Trials on Ray: which run where, what a user sees of them, and what happens when they fail. Only here ray is imported.

Ray reads the environment when it is imported, so it is set before any module of this package is.
"""

import logging
import os

os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # they write several files for each trial
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C ends the run at once; rows are stored by then
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "inf")  # a run is resumed from its rows, not from Tune's snapshots
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the other prints a box and a path whatever its verbosity
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

KEEP_FREED_MEMORY = {
    "MALLOC_ARENA_MAX": "1",  # also in the thread that a trial runs in, whose own heap could not be kept
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**62),
}
"""Makes glibc keep the memory that a step frees for the next step. It returns large blocks to the system, which then
clears their pages anew: a fifth to a third of the time of a training step on a CPU at batch 128 and above. Workers that
Ray starts on this machine inherit it."""
for name, value in KEEP_FREED_MEMORY.items():
    os.environ.setdefault(name, value)

logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)  # its error lists failed trials, which a run does itself
