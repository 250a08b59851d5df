# go_types.py - what the objects of Go programs are, and the expressions that lead to them.
"""
The oracle is the fixture: it prints the address of each object with what reflection says of its type,
and pairs of a Go expression and the address that it evaluates to.
"""

import json
import sys

import golang
import harness
from harness import Target, cases, check, check_equal, memscope

FEWEST = 10  # of the objects that are told of, those whose type is known without any names
GUESSED = 0.8  # share of the bytes of plain structures, some of them empty, that have a type without any names
WRONG = 0.01  # share of the guessed bytes whose guess may be wrong


def notes(target, *kinds):
    for line in target.truth.lines:
        fields = line.split("\t")
        kind = fields[0].split(" ")[1]
        if kind in kinds:
            yield [kind] + fields[1:]


def wanted(note):
    """What memscope calls an object that the fixture tells of."""
    if note[0] == "string":
        return "string data"
    if note[0] == "array" and note[2] != "1":
        return "[%s]%s" % (note[2], note[3])
    return note[-1]


def objects(target):
    run = memscope("heap", "-j", "--list", str(target.pid), expect=(0,))
    return {block["address"]: block for block in json.loads(run.out)["heap"]["blocks"]}


def check_types(target, guesses=False):
    """How many of the objects that the fixture tells of have a type, GUESSES too; all have the right one."""
    found, typed, wrong = objects(target), 0, []
    for note in notes(target, "value", "array", "string"):
        check(note[1] in found, "no object is at %s, where a %s is" % (note[1], wanted(note)))
        block = found[note[1]]
        if block["type"] is None or (block["type_by"] == "guess" and not guesses):
            continue
        typed += 1
        # how many elements there are only a slice can tell
        known = block["type"].split("]", 1)[-1] if note[0] == "array" and not target.named else block["type"]
        want = wanted(note).split("]", 1)[-1] if note[0] == "array" and not target.named else wanted(note)
        if known != want:
            wrong.append("%s is %s and not %s (by %s)" % (note[1], wanted(note), block["type"],
                                                          block["type_by"]))
    check_equal(wrong, [], "types that are wrong")
    return typed


def start(version, *flags):
    target = Target([golang.go_program("types", version, flags)])
    target.named = not flags
    return target


@cases(*golang.versions())
def test_types(version):
    with start(version) as target:
        typed = check_types(target)
        check_equal(typed, len(list(notes(target, "value", "array", "string"))), "objects that have a type")


@cases(*golang.versions())
def test_types_of_stripped_programs(version):
    with start(version, "-ldflags=-s -w") as target:
        typed, known = check_types(target, guesses=True), check_types(target)
        check(known >= FEWEST, "only %d objects have a type that is no guess" % known)
        check(typed >= GUESSED * len(list(notes(target, "value", "array", "string"))),
              "only %d objects have a type" % typed)


@cases(*golang.versions())
def test_guesses_of_stripped_programs(version):
    """Structures of which the runtime keeps no type are told by what the code allocates, and by what they hold."""
    with Target([golang.go_program("shop", version, ["-ldflags=-s -w"])]) as target:
        found, sums, wrong = objects(target), {"right": 0, "wrong": 0, None: 0}, []
        for note in notes(target, "value", "array"):
            block, want = found[note[1]], wanted(note)
            verdict = block["type"] and ("right" if block["type"] == want else "wrong")
            sums[verdict] += block["size"]
            if verdict == "wrong":
                wrong.append("%s is %s and not %s (by %s)" % (note[1], want, block["type"], block["type_by"]))
            if want in ("main.red", "main.blue"):
                check_equal(block["type"], None, "the type of a %s, which may be any other pointer" % want)
        check(sums["wrong"] <= WRONG * (sums["right"] + sums["wrong"]), "%s: %s" % (sums, wrong[:10]))
        check(sums["right"] >= GUESSED * sum(sums.values()), "bytes by what is said of them: %s" % sums)


@cases(golang.versions()[0], golang.versions()[-1])
def test_guesses_are_marked(version):
    """A guess has a question mark wherever it is shown; with names the same object has none."""
    for flags, by, mark in ((["-ldflags=-s -w"], "guess", "main.parcel?"), ([], "pointer", "main.parcel")):
        with Target([golang.go_program("shop", version, flags)]) as target:
            address = next(note[1] for note in notes(target, "value") if wanted(note) == "main.parcel")
            block = objects(target)[address]
            check_equal((block["type"], block["type_by"]), ("main.parcel", by), "what %s is" % address)
            text = memscope("heap", str(target.pid), expect=(0,)).out
            check(any(line.split()[-1:] == [mark] for line in text.splitlines()),
                  "no line of the report ends with %s:\n%s" % (mark, text))


@cases(*golang.versions())
def test_expressions(version):
    with start(version) as target:
        for _, address, expression in notes(target, "expression"):
            run = memscope("path", "-j", str(target.pid), address, expect=(0,))
            chains = json.loads(run.out)["path"]["chains"]
            check(expression in [chain["expression"] for chain in chains],
                  "%s is not said as %s but as %s" % (address, expression,
                                                      [chain["expression"] for chain in chains]))


if __name__ == "__main__":
    sys.exit(harness.main())
