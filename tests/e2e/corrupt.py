# corrupt.py - damaged heaps: what is sane is reported right, what was skipped is said, status 4.
import sys

import harness
from harness import cases, check, check_equal

# Damage of chunk sizes: the walk must notice, resynchronise and say how much it skipped.
BROKEN_WALK = ("size_zero", "size_small", "size_odd", "size_huge", "size_negative", "size_text",
               "size_past_top", "size_short", "overrun", "top_size", "top_wild")
# Damage of lists: blocks are right all the same; whether a list is broken may be noticed or not.
BROKEN_LISTS = ("tcache_next", "tcache_loop", "fastbin_loop", "fastbin_wild", "unsorted_loop",
                "unsorted_wild", "unsorted_null")
# A size that still leads to another chunk, one block that swallowed two: nobody can tell.
HIDDEN = ("size_long",)
MAPPED = ("mmapped_size", "mmapped_prev_size")


def look(kind, status):
    target = harness.start("corrupt", kind)
    run = harness.leaks(target, expect=status, timeout=20)
    found = harness.listed(run)
    begin, end = (int(target.truth.note(k), 16) for k in ("damage_begin", "damage_end"))
    # blocks in the damaged stretch may or may not be seen, as whatever they look like
    harness.compare(target.truth, {a: b for a, b in found.items() if not begin <= a <= end})
    target.check_unharmed()
    if run.status == 4:
        check(run.json["warnings"] or run.err.strip(), "incomplete, but nothing says so")
    return run


@cases(*BROKEN_WALK)
def broken_walk(kind):
    run = look(kind, 4)
    said = " ".join(map(str, run.json["warnings"])) + run.err
    check("byte" in said or "KiB" in said or any(c.isdigit() for c in said),
          "it does not say how much was skipped: " + said)


@cases(*BROKEN_LISTS)
def broken_list(kind):
    look(kind, (1, 4))


@cases(*HIDDEN)
def hidden(kind):
    look(kind, (1, 4))


@cases(*MAPPED)
def mapped(kind):
    look(kind, (1, 4))


@cases("size_huge", "tcache_loop", "unsorted_loop", "top_wild", "mmapped_size")
def memstats(kind):
    """The account still adds up to Rss."""
    target = harness.start("corrupt", kind)
    run = harness.memscope("memstats", "-j", target.pid, expect=(0, 4), timeout=20)
    rss = run.json["memstats"]["rss"]
    check_equal(sum(r["bytes"] for r in rss["rows"]), rss["total"], "sum of rows")


@harness.test
def lock_held_forever():
    """A thread died inside malloc, so to speak: its lock is never released. That must be said."""
    target = harness.start("corrupt", "locked")
    run = harness.leaks(target, expect=(1, 4), timeout=20)
    harness.compare(target.truth, harness.listed(run))
    target.check_unharmed()
    check("lock" in (" ".join(map(str, run.json["warnings"])) + run.err).lower(),
          "it does not say that an arena was locked:\n%s" % run)


if __name__ == "__main__":
    sys.exit(harness.main())
