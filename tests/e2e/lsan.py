# lsan.py - the same programs under LeakSanitizer lose the same blocks.
"""
LeakSanitizer looks when the program ends, in another process than memscope; blocks are compared by
their names. It has no "possible" (an interior pointer is as good as any) and no leader of a cycle
(all its members are "indirect"), which `expected` accounts for. What else it sees differently is in
the table, with the reason.
"""

import os
import re
import subprocess
import sys

import harness
from harness import cases, check

NO_ROOT = "direct", "LeakSanitizer does not look into maps of the program's own"
KERNEL = "direct", "LeakSanitizer does not ask the kernel"

CASES = [
    (("direct",), {}),
    (("trees",), {}),
    (("rings", "50"), {}),
    (("interior",), {}),
    (("heuristics",), {}),
    (("roots_data",), {"read_only_map": NO_ROOT}),
    (("roots_dtls",), {}),
    (("roots_stack",), {"red_zone": ("direct", "LeakSanitizer starts at the stack pointer")}),
    (("roots_altstack",), {"mapped_handler_local": NO_ROOT}),
    (("roots_coro",), {"running_main": NO_ROOT, "running_mapped": NO_ROOT,
                       "suspended_mapped": NO_ROOT}),
    (("roots_kernel",), {"epoll": KERNEL, "epoll_second": KERNEL, "epoll_other_instance": KERNEL,
                         "timer_signal": KERNEL, "timer_none": KERNEL}),
    (("stale",), {}),
    (("freed",), {}),
    (("arenas", "5", "0"), {}),
    (("memalign",), {}),
    (("brkforeign",), {"held_by_break": NO_ROOT, "held_by_end_of_break": NO_ROOT,
                       "held_by_odd_break": NO_ROOT}),
    (("huge",), {}),
    (("manythreads", "50"), {}),
    (("cxx", "leaky"), {}),
]


def look(case):
    directory = os.path.join(harness.scratch(), "lsan")
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, case[0])
    if not os.path.exists(path):
        harness.build(case[0], directory, extra=["-fsanitize=leak"])
        if case[0] == "roots_dtls":
            harness.build("dtls_module.so", directory)
    options = "report_objects=1:max_leaks=0:symbolize=0:exitcode=0"
    target = harness.Target([path] + list(case[1:]), stderr=subprocess.PIPE,
                            environment={"TRUTH_EXIT": "1", "LSAN_OPTIONS": options})
    target.process.stdin.close()
    report = target.process.stderr.read().decode()
    target.process.stderr.close()
    check(target.process.wait() == 0, "LeakSanitizer failed:\n" + report[-2000:])
    found, kind = {}, None
    for line in report.splitlines():
        if re.match("(Direct|Indirect) leak", line):
            kind = line.split()[0].lower()
        match = re.match(r"0x([0-9a-f]+) \((\d+) bytes\)", line)
        if match:
            found[int(match.group(1), 16)] = kind
    strange = [hex(a) for a in found if a not in target.truth.blocks]
    check(not strange, "LeakSanitizer knows losses that the fixture does not: %s" % strange[:5])
    return harness.by_name(target.truth, found)


def expected(target, found):
    """What memscope found, in the words of LeakSanitizer."""
    words = {"definite": "direct", "indirect": "indirect"}
    kinds = {a: words[b[0]] for a, b in found.items() if b[0] in words}
    for ring in target.truth.rings:
        kinds.update((a, "indirect") for a in ring)
    return harness.by_name(target.truth, kinds)


@cases(*CASES)
def same(case_and_known):
    case, known = case_and_known
    theirs = look(case)
    target = harness.start(*case)
    found = harness.listed(harness.leaks(target))
    harness.compare_with_oracle(expected(target, found), theirs, known, "LeakSanitizer")


if __name__ == "__main__":
    sys.exit(harness.main())
