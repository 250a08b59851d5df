# go_escapes.py - memscope escapes: the variables that the compiler itself says it moved to the heap.
"""
The oracle is `go build -gcflags=-m`, which prints "FILE:LINE:COLUMN: moved to heap: NAME" for each, and once more
for each call that one was inlined at.
"""

import os
import re
import subprocess
import sys

import golang
import harness
from harness import cases, check, check_equal, test

MOVED = re.compile(r"^(\S+?):(\d+):(\d+): moved to heap: (\S+)$")
SOURCE = os.path.join(golang.SOURCES, "escapes", "main.go")


def moved(version):
    """{(line, name)} of declarations, and {(line, name)} of calls that one was inlined at."""
    out = os.path.join(harness.scratch(), "unused")
    done = subprocess.run([golang.toolchain(version) + "/bin/go", "build", "-gcflags=-m", "-o", out,
                           "./escapes"], cwd=golang.SOURCES, stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                          env=golang.environment(CGO_ENABLED="0", GOFLAGS="-mod=mod",
                                                 GOROOT=golang.toolchain(version)))
    check_equal(done.returncode, 0, "the compiler's exit status:\n" + done.stdout)
    with open(SOURCE) as text:
        lines = text.read().splitlines()
    declared, calls = set(), set()
    for line in done.stdout.splitlines():
        found = MOVED.match(line)
        if found:
            number, name = int(found.group(2)), found.group(4)
            at = lines[number - 1][int(found.group(3)) - 1:]
            (declared if re.match(re.escape(name) + r"\b", at) else calls).add((number, name))
    return declared, calls


def escapes(*arguments):
    return harness.memscope("escapes", "-j", *arguments, expect=0).json["escapes"]["variables"]


@cases(*golang.versions())
def all_that_the_compiler_moved(version):
    declared, calls = moved(version)
    check(len(declared) >= 10, "the compiler moved only %r" % declared)
    check(calls, "nothing was inlined")
    found = escapes("--package", "main", golang.go_program("escapes", version))
    names = {(v["line"], v["variable"]) for v in found}
    check_equal(len(names), len(found), "different ones of %r" % found)
    check_equal(sorted(names - declared), [], "variables that the compiler did not move")
    # of functions that are nowhere but inlined, DWARF leaves out what is in no register for long
    check_equal(sorted(declared - names - {(40, "given"), (41, "local")}), [], "missing variables")
    for variable in found:
        if variable["file"] is not None:
            check_equal(variable["file"], SOURCE, "file of %(variable)s" % variable)
        else:
            check(variable["inlined"], "no file of %(variable)s" % variable)
    check(sum(v["file"] is None for v in found) <= 1, "more than the inlined parameter has no file")


@test
def functions_types_and_sizes():
    found = escapes("--package", "main", golang.go_program("escapes"))
    known = {v["variable"]: v for v in found if v["variable"] != "deep"}
    for name, expected in {"escaping": ("main.parameter", "int", 8), "made": ("main.result", "main.big", 80),
                           "count": ("main.counter", "int", 8), "o": ("main.object.method", "main.object", 8),
                           "all": ("main.variadic", "[]int", 24), "second": ("main.manyLines", "main.big", 80)
                           }.items():
        variable = known[name]
        check_equal((variable["function"], variable["type"], variable["size"]), expected, name)
    check(known["local"]["inlined"], "local is not inlined: %r" % known["local"])
    check_equal(sorted(v["type"] for v in found if v["variable"] == "deep"), ["[3]int", "main.big"], "deep")


@test
def of_a_process_without_a_stop():
    target = harness.Target([golang.go_program("unprofiled")], truth=False)
    of_process = escapes("--all", target.pid)
    check(of_process, "nothing of the standard library")
    check_equal(of_process, escapes("--all", golang.go_program("unprofiled")), "of the process")
    target.check_unharmed()


@cases(*golang.versions())
def how_many_are_alive(version):
    """The program counts its own; each allocation is in its memory profile."""
    with harness.Target([golang.go_program("alive", version)]) as target:
        told = dict(note.split() for note in target.truth.notes["alive"])
        found = {v["variable"]: v for v in escapes("--package", "main", str(target.pid))}
        for name, count in told.items():
            check_equal(found[name]["live_objects"], int(count), "alive of " + name)
            check((int(count) == 0) == (found[name]["live_bytes"] == 0), "bytes of %r" % found[name])
        check_equal(found["linked"]["live_bytes"], 70 * 208, "bytes of linked")
        text = harness.memscope("escapes", "--package", "main", str(target.pid), expect=0).out
        check(re.search(r"^ +linked .*  70 alive, 14\.2 KiB$", text, re.M), text)
        target.check_unharmed()


@test
def text_says_the_same():
    program = golang.go_program("escapes")
    run = harness.memscope("escapes", program, expect=0)
    found = escapes(program)
    check("moved %d variables to the heap" % len(found) in run.out, run.out[:300])
    for variable in found:
        place = "%s:%d" % (variable["file"] or "?", variable["line"])
        check(re.search(r"^ +%s .*%s" % (re.escape(variable["variable"]), re.escape(place)), run.out, re.M),
              "no line for %r in\n%s" % (variable, run.out))


@cases(("stripped", "debug information"), ("c", "no Go code"), ("none", "No such file"),
       ("text", "debug information"))
def what_cannot_be_read_is_told(case):
    kind, words = case
    path = {"c": lambda: harness.fixture("trees"), "none": lambda: "/nonexistent", "text": lambda: __file__,
            "stripped": lambda: golang.go_program("escapes", flags=["-ldflags=-w"])}[kind]()
    run = harness.memscope("escapes", path, expect=3)
    check(words in run.err and path in run.err, str(run))


if __name__ == "__main__":
    sys.exit(harness.main())
