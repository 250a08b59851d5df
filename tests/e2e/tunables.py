# tunables.py - heaps of programs that tune malloc by GLIBC_TUNABLES.
import os
import sys

import harness
from harness import cases, check_equal

FIXTURES = [("arenas",), ("freed",), ("mmapped",), ("arenas_static_pie",)]
TUNABLES = ["hugetlb=1", "hugetlb=2", "tcache_count=0", "tcache_count=500", "tcache_max=0", "mxfast=0",
            "mxfast=160", "arena_max=1", "arena_max=3", "mmap_max=0", "mmap_max=7", "perturb=165",
            "mmap_threshold=4096", "mmap_threshold=100000000", "top_pad=0", "trim_threshold=0",
            "mmap_max=5:glibc.malloc.arena_test=2:glibc.malloc.trim_threshold=0",
            "hugetlb=2:glibc.malloc.mmap_max=3:glibc.malloc.perturb=1"]
if os.environ.get("SANITIZERS") == "yes":  # they are slow, and most settings lead through the same code
    TUNABLES = TUNABLES[::4] + TUNABLES[-1:]


def inspect(target):
    """All blocks are those of the truth, nothing is uncertain, and the account adds up."""
    run = harness.leaks(target, kinds=("all",))
    check_equal(run.json.get("warnings"), [], "warnings")
    harness.compare(target.truth, harness.listed(run), reachable_listed=True)
    rss = harness.memscope("memstats", "-j", target.pid, expect=0).json["memstats"]["rss"]
    check_equal(sum(row["bytes"] for row in rss["rows"]), rss["total"], "sum of the rows")
    target.check_unharmed()


@cases(*TUNABLES)
def tuned(tunable):
    """Every fixture under one setting."""
    for fixture in FIXTURES:
        with harness.start(*fixture, environment={"GLIBC_TUNABLES": "glibc.malloc." + tunable}) as target:
            try:
                inspect(target)
            except harness.Failure as failure:
                raise harness.Failure("%s: %s" % (" ".join(fixture), failure))


if __name__ == "__main__":
    sys.exit(harness.main())
