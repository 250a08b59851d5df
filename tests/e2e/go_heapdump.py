# go_heapdump.py - the Go heap against Go itself: its own dump of all objects, and what its collector takes next.
"""
The program writes runtime/debug.WriteHeapDump() with the world stopped and then waits in that state: each object,
each pointer, each variable and each frame there must be here. What memscope then calls unreachable, the next
collection must take, and what it calls reachable must survive.
"""

import bisect
import json
import os
import subprocess
import sys

import golang
import harness
from harness import Failure, Target, cases, check, check_equal, test
from heapdump import Dump

GOHEAP = os.path.join(os.path.dirname(harness.MEMSCOPE), "tests", "e2e", "goheap")
PAGE = 8192
ATTEMPTS = 4  # the runtime's own threads and goroutines may go on after the dump


class Heap:
    """What memscope has found."""

    def __init__(self, target):
        done = subprocess.run([GOHEAP, "--all", str(target.pid)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=harness.TIMEOUT)
        check(done.returncode == 0, "goheap: %d\n%s" % (done.returncode, done.stderr))
        found = json.loads(done.stdout)
        check(found["complete"], "not all of the heap could be read")
        self.live = found["live"]
        self.sizes = {answer[0]: answer[1] for answer, _ in found["all"]}
        self.reached = {answer[0] for answer, _ in found["all"] if answer[2]}
        self.young = {answer[0] for answer, _ in found["all"] if answer[4]}
        self.pointers = {(address, value) for _, pointers in found["all"]
                         for address, value in zip(pointers[::2], pointers[1::2])}
        self.roots = [tuple(root) for root in found["roots"]]


class Objects:
    """The objects of a dump, without the headers that those of more than 512 bytes have from 1.22 on."""

    def __init__(self, dump, minor):
        self.sizes = {}
        self._slots = {}
        for said in dump.objects:
            header = 8 if minor >= 22 and 512 < said.size <= 32768 - 8 and said.fields else 0
            self.sizes[said.address + header] = said.size - header
        self.starts = sorted(self.sizes)

    def holding(self, address):
        """The object that ADDRESS is in, or None."""
        at = bisect.bisect_right(self.starts, address) - 1
        inside = at >= 0 and address < self.starts[at] + self.sizes[self.starts[at]]
        return self.starts[at] if inside else None

    def remove(self, address):
        del self.sizes[address]
        self.starts.remove(address)

    def pointers(self, memories):
        """Those of MEMORIES that point to an object, as goheap has them: values rounded down to 8 bytes."""
        return {(at, value & ~7) for memory in memories for at, value in memory.pointers()
                if self.holding(value) is not None}


def take_out_bitmaps(objects, extra, minor):
    """
    From 1.22 on dumpobjs() takes a span to be full of slots, and so its own map of pointers at the span's end
    (128 bytes of the page; from 1.26 on marks and scan bits too, 128 more) for objects.
    """
    reserved = 256 if minor >= 26 else 128 if minor >= 22 else 0
    for address in extra:
        end = address + objects.sizes[address]
        check(objects.sizes[address] <= 512 and end > (address // PAGE + 1) * PAGE - reserved,
              "only in the dump: %d bytes at 0x%x" % (objects.sizes[address], address))
        objects.remove(address)


def check_same(theirs, ours, what, excused=lambda pointer: False):
    for name, pointers in ("only in the dump", theirs - ours), ("not in the dump", ours - theirs):
        wrong = ["0x%x -> 0x%x" % pointer for pointer in sorted(pointers) if not excused(pointer)]
        check(not wrong, "%s: %d %s: %s" % (what, len(wrong), name, wrong[:10]))


def runtime_variables(program):
    """(start, end) of the runtime's variables, in which the scheduler goes on."""
    listed = subprocess.run([harness.tool("nm"), "-n", "-S", program], stdout=subprocess.PIPE, text=True, check=True)
    for line in listed.stdout.splitlines():
        words = line.split()
        if len(words) == 4 and words[2] in "bBdD" and words[3].startswith("runtime."):
            yield int(words[0], 16), int(words[0], 16) + int(words[1], 16)


def check_against_dump(heap, dump, minor, variables):
    objects = Objects(dump, minor)
    take_out_bitmaps(objects, set(objects.sizes) - set(heap.sizes), minor)
    check_equal(sorted(set(heap.sizes.items()) ^ set(objects.sizes.items())), [], "objects in one of them only")
    check_equal(heap.live, dump.alive, "objects and bytes by MemStats in the dump")

    busy = {objects.holding(address) for address in dump.scheduler}

    def scheduler(pointer):
        """The g and the m of a thread that came or went since."""
        at, value = pointer
        return bool(busy & {objects.holding(at), objects.holding(value)}) or \
            any(start <= at < end for start, end in variables)

    edges = objects.pointers(dump.objects)
    check_same(edges, {edge for edge in heap.pointers if objects.holding(edge[1]) is not None}, "objects", scheduler)
    in_data = {root[2:] for root in heap.roots if root[0] == "data" and objects.holding(root[3]) is not None}
    check_same(objects.pointers(dump.data), in_data, "variables", scheduler)
    check_frames(heap, dump, objects)
    check_reachable(heap, edges, objects)


def check_frames(heap, dump, objects):
    """The dump knows nothing of objects on stacks that pointers lead to: there may be more than it has."""
    found = 0
    for number, frames in dump.frames.items():
        if number == 1:
            continue  # it has written the dump, and is elsewhere now
        theirs = objects.pointers(frames)
        ours = {root[2:] for root in heap.roots if root[0] == "goroutine" and root[1] == number}
        check_same(theirs - ours, set(), "frames of goroutine %d" % number)
        for at, value in ours - theirs:
            check(any(frame.address <= at < frame.address + frame.size for frame in frames),
                  "0x%x -> 0x%x of goroutine %d is in no frame" % (at, value, number))
        found += len(theirs)
    check(found >= 10, "%d pointers in the frames of the dump" % found)


def check_reachable(heap, edges, objects):
    """From memscope's roots over the dump's pointers, each object that it calls reachable, and no other."""
    held = {}
    for at, value in edges:
        held.setdefault(objects.holding(at), []).append(objects.holding(value))
    reached, todo = set(), [objects.holding(root[3]) for root in heap.roots]
    while todo:
        one = todo.pop()
        if one is not None and one not in reached:
            reached.add(one)
            todo += held.get(one, [])
    check_equal(len(reached ^ heap.reached), 0, "objects that are reachable in one of them only")


def until_at_rest(attempt):
    """ATTEMPT, which fails when the runtime has gone on; what is wrong fails each time."""
    for left in reversed(range(ATTEMPTS)):
        try:
            return attempt()
        except Failure:
            if not left:
                raise


@cases(*((version, *flags) for version in golang.versions() for flags in ((), ("-ldflags=-s -w",))
         if not flags or version in (golang.versions()[0], golang.versions()[-1])))
def dump(case):
    version, *flags = case
    where = os.path.join(harness.scratch(), "heap.dump")
    variables = list(runtime_variables(golang.go_program("dumped", version)))

    def attempt():
        with Target([golang.go_program("dumped", version, flags), where]) as target:
            heap = Heap(target)
            said = Dump(where)
            check_equal(said.version, "go" + version, "version of the dump")
            check(len(said.objects) > 7000, "%d objects in the dump" % len(said.objects))
            check_against_dump(heap, said, golang.minor(version), variables)

    until_at_rest(attempt)


def check_collection(before, after):
    unreachable = set(before.sizes) - before.reached
    check(len(unreachable & before.young) >= 1500 and unreachable - before.young,
          "unreachable: %d" % len(unreachable))
    # what has its place now and was made since is another object
    survived = set(after.sizes) - after.young
    for what, wrong in (("unreachable, and the collector has left", unreachable & survived),
                        ("reachable, and the collector has taken", before.reached - survived)):
        check(not wrong, "%s %d: %s" % (what, len(wrong), [(hex(one), before.sizes[one])
                                                           for one in sorted(wrong)[:10]]))


@cases(*golang.versions())
def what_the_collector_takes(version):
    """The next collection takes what is unreachable, young or not, and leaves what is reachable."""
    def attempt():
        with Target([golang.go_program("dumped", version), os.devnull]) as target:
            before = Heap(target)
            check_equal(target.ask("collect"), "collected", "answer")
            check_collection(before, Heap(target))

    until_at_rest(attempt)


sys.exit(harness.main())
