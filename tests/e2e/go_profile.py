# go_profile.py - memscope profile of Go programs: equal to what they write of themselves, sample by sample.
"""
The oracle is runtime/pprof in the target, which writes its heap profile at rest; `go tool pprof -raw` reads
both files. Locations are compared whole: address, mapping, and each inlined call with its file and line.
"""

import os
import re
import subprocess
import sys

import golang
import harness
from harness import cases, check, check_equal, test

SAMPLE = re.compile(r"^((?: +-?\d+)+): ?((?:\d+ )*)$")
LABELS = re.compile(r"^ {16}(\S+)$")
LOCATION = re.compile(r"^ +(\d+): (0x[0-9a-f]+) (?:M=(\d+) )?(.*)$")


class Profile:
    """What pprof says that is in a file."""

    def __init__(self, path, *options):
        self.path = path
        raw = pprof("-raw", *options, path)
        head, rest = raw.split("Samples:\n")
        samples, rest = rest.split("Locations\n")
        places, maps = rest.split("Mappings\n")
        self.head = [line for line in head.splitlines() if not line.startswith("Time: ")]
        self.maps = maps.splitlines()
        self.types, *samples = samples.splitlines()
        self.locations = self._read_locations(places)
        self.samples = {}
        self._read_samples(samples)

    def _read_locations(self, text):
        locations, last = {}, None
        for line in text.splitlines():
            first = LOCATION.match(line)
            if first:
                last = locations[first.group(1)] = [first.group(2)]
                last.append(self.maps[int(first.group(3)) - 1] if first.group(3) else None)
                last.append(first.group(4))
            else:
                last.append(line.strip())
        return {number: tuple(location) for number, location in locations.items()}

    def _read_samples(self, lines):
        """Values by stack and labels; those of nothing but zeros are none."""
        for number, line in enumerate(lines):
            found = SAMPLE.match(line)
            if not found:
                continue
            values = [int(word) for word in found.group(1).split()]
            stack = tuple(self.locations[word] for word in found.group(2).split())
            labels = LABELS.match(lines[number + 1]) if number + 1 < len(lines) else None
            key = (stack, labels.group(1) if labels else "")
            if any(values):
                old = self.samples.get(key, [0] * len(values))
                self.samples[key] = [a + b for a, b in zip(old, values)]

    def functions(self):
        return {line.split(" ")[0] for stack, _ in self.samples for location in stack
                for line in location[2:]}


def pprof(*arguments):
    return golang.go(golang.NEWEST, "tool", "pprof", "-symbolize=none", *arguments)


def ours(target, name, *options, **more):
    path = os.path.join(harness.scratch(), name + ".pb.gz")
    harness.memscope("profile", "-o", path, *options, target.pid, **dict({"expect": 0}, **more))
    return Profile(path)


def start(program, mode, rounds, rate):
    directory = os.path.join(harness.scratch(), "written")
    os.makedirs(directory, exist_ok=True)
    target = harness.Target([program, mode, str(rounds), str(rate), directory], truth=False)
    return target, directory


def compare(mine, theirs, leave_out=None):
    """Leaves out samples that LEAVE_OUT is true of."""
    check_equal(mine.head, theirs.head, "what the profile is of")
    check_equal(mine.types, theirs.types, "the types of samples")
    check_equal(mine.maps, theirs.maps, "mappings")
    wrong = []
    for key in sorted(set(mine.samples) | set(theirs.samples), key=str):
        a, b = mine.samples.get(key), theirs.samples.get(key)
        if a != b and not (leave_out and leave_out(key)):
            wrong.append("%s, not %s: %s" % (a, b, key))
    check(not wrong, "%d of %d samples differ:\n%s" % (len(wrong), len(theirs.samples),
                                                       "\n".join(wrong[:5])))


def check_program(program, mode, rounds, rate, least):
    target, directory = start(program, mode, rounds, rate)
    heap, allocs = ours(target, "heap"), ours(target, "allocs", "--type", "allocs")
    check_equal(target.ask("go"), "written", "what the target said")
    target.check_unharmed()
    compare(heap, Profile(directory + "/heap"))
    compare(allocs, Profile(directory + "/allocs"))
    check(len(heap.samples) >= least, "only %d samples" % len(heap.samples))
    target.stop()
    return heap


@cases(*golang.versions())
def same_as_the_program_says_at_every_allocation(version):
    heap = check_program(golang.go_program("profile", version), "twice", 20, 1, 100)
    for function in ("main.innermost", "main.even", "main.closures.func1", "main.drop"):
        check(function in heap.functions(), "no %s in the profile" % function)


if __name__ == "__main__":
    sys.exit(harness.main())
