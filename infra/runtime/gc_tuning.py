"""When garbage is looked for: seldom, and not among what is there for good.

The standard looks after every few hundred objects, through everything that is young; a process that has a hundred
requests at work, all of them young, spends a twentieth of its time on it. What has no cycles goes at once in any case.
"""

import gc

# Objects made until the young are looked through; of those looks, each of so many goes further.
_YOUNG, _OLDER, _OLDEST = 10_000, 20, 50


def tune_gc() -> None:
    """For a process that has loaded what it will need: all of that is left out of every look from now on."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _OLDER, _OLDEST)
