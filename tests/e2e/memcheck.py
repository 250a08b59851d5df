# memcheck.py - the same programs under Valgrind's memcheck lose the same blocks, in the same kinds.
"""
memcheck is asked by vgdb once the fixture is ready, so it judges the same moment as memscope, in
another process: blocks are compared by their names. Its own losses that no fixture knows are the
thread library's (thread vectors and thread-local data, "possibly lost"); memscope must not have
them, which truth.py checks. Under Valgrind the heap has low addresses, so plain numbers look like
pointers into large blocks: fixtures with very large ones are left out, and where the two differ
memcheck alone is asked again, in a new process. What it sees differently is in the table, with the
reason.
"""

import os
import re
import subprocess
import sys

import harness
from harness import cases, check

READ_ONLY = "definite", "memcheck does not scan what cannot be written"
# by which thread memcheck happens to look at first
CALLER = "definite", "memcheck scans only the stack that a thread is on just now", "sometimes"
KERNEL = "definite", "memcheck does not ask the kernel"
MANGLED = "definite", "memcheck does not know libc's mangling"
TLS = "possible", "memcheck knows the thread vector by an interior pointer only"

CASES = [
    (("direct",), {}),
    (("trees", "50"), {}),
    (("rings", "50"), {}),
    (("interior",), {}),
    (("heuristics",), {}),
    (("roots_data",), {"relro": READ_ONLY, "read_only_bss": READ_ONLY, "read_only_map": READ_ONLY}),
    (("roots_dtls",), {"tls_small": TLS, "tls_large": TLS}),
    (("roots_stack",), {}),
    (("roots_maps",), {}),
    (("roots_altstack",), {}),
    (("roots_coro",), {"caller_of_running_mapped": CALLER, "caller_of_running_heap": CALLER,
                      "caller_of_running_main": CALLER}),
    (("roots_kernel",), {"epoll": KERNEL, "epoll_second": KERNEL, "epoll_other_instance": KERNEL,
                         "timer_signal": KERNEL, "timer_none": KERNEL}),
    (("roots_libc",), {"setjmp_rbp": MANGLED}),
    (("stale",), {"ended_tls": ("reachable", "memcheck scans the stacks that libc keeps")}),
    (("freed",), {}),
    (("arenas", "5", "0"), {}),
    (("memalign",), {}),
    (("brkforeign",), {}),
    (("manythreads", "50"), {}),
    (("cxx", "leaky"), {}),
]


def ask(target, command):
    done = subprocess.run([harness.tool("vgdb"), "--pid=%d" % target.pid] + command.split(),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=harness.TIMEOUT)
    check(done.returncode == 0, "vgdb failed:\n" + done.stderr[-1000:])
    return done.stdout


def look(case):
    """Starts a fixture under memcheck: its truth, and {address: kind}."""
    target = harness.Target(
        [harness.tool("valgrind"), "--vgdb=yes", "--vgdb-poll=100", "-q", "--leak-check=no",
         "--num-callers=4", "--soname-synonyms=somalloc=nouserintercepts",
         "--log-file=" + os.path.join(harness.scratch(), "valgrind.log"),
         harness.fixture(case[0])] + list(case[1:]))
    report = ask(target, "leak_check full any heuristics all unlimited")
    records = [int(n) for n in re.findall(r"loss record (\d+) of", report)]
    found, kind, own, vectors = {}, None, set(), False
    if records:
        blocks = ask(target, "block_list 1..%d unlimited" % max(records))
        for line in blocks.splitlines():
            heading = re.search(r"(definite|indirect|possib|still reachab)l[ey].* in loss record",
                                line)
            if heading:
                kind = {"possib": "possible", "still reachab": "reachable"}.get(
                    heading.group(1), heading.group(1))
                vectors = False
            # a thread that runs on another stack: memcheck does not see its descriptor on the first
            vectors = kind is not None and (vectors or "allocate_dtv" in line)
            address = re.search(r"0x([0-9A-F]+)\[(\d+)\]", line)
            if address and vectors:
                own.add(int(address.group(1), 16))
            if address:
                # blocks that a lost one holds stand indented below it
                indirect = "indirect loss record" in line
                found[int(address.group(1), 16)] = "indirect" if indirect else kind
    target.stop()
    strange = ["%#x %s" % (a, k) for a, k in found.items()
               if a not in target.truth.blocks and a not in own and k in ("definite", "indirect")]
    check(not strange, "memcheck knows losses that the fixture does not: %s" % strange[:5])
    return target.truth, found


def without_leaders(truth, kinds):
    """Which member of a cycle is its leader is not said to be the same."""
    kinds = dict(kinds)
    for ring in truth.rings:
        if sorted(kinds.get(a) for a in ring) == ["definite"] + ["indirect"] * (len(ring) - 1):
            kinds.update((a, "ring") for a in ring)
    return harness.by_name(truth, kinds)


@cases(*CASES[::2 if os.environ.get("SANITIZERS") == "yes" else 1])
def same(case_and_known):
    case, known = case_and_known
    target = harness.start(*case)
    ours = {a: b[0] for a, b in harness.listed(harness.leaks(target)).items()}
    for last in (False, False, True):
        try:
            truth, theirs = look(case)
            harness.compare_with_oracle(without_leaders(target.truth, ours),
                                        without_leaders(truth, theirs), known, "memcheck")
            return
        except (harness.Failure, subprocess.TimeoutExpired) as failure:
            if last:
                raise
            print("# memcheck is asked again: " + str(failure).replace("\n", "\n# "))


if __name__ == "__main__":
    sys.exit(harness.main())
