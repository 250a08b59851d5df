# shown.py - what people see of types: leaks by type and shape, members, suppressions, path as text.
import os
import re
import sys

import harness
from harness import check, check_equal, test


def group_of(report, name):
    """The one group of leaks whose type ends so."""
    found = [g for g in report["groups"] if (g["type"] or "").endswith(name)]
    check_equal(len(found), 1, "groups of %s" % name)
    return found[0]


def leaks(target, *options):
    return harness.memscope("leaks", "-j", *options, target.pid, expect=(0, 1)).json["leaks"]


@test
def types_of_leaks():
    """A lost object has the class that its vtable says, and holds what its members point to."""
    target = harness.start("cxx", "leaky")
    group = group_of(leaks(target), "Square")
    check_equal((group["type_by"], group["blocks"]), ("vtable", 1), "the lost square")
    check_equal([(h["type"], h["blocks"]) for h in group["holds"]], [("char []", 1)], "what it holds")
    check("members" not in group, "members without --show")
    text = harness.memscope("leaks", target.pid, expect=1).out
    check(re.search(r"Square \(cxx\) \(holds 1 char \[\]\)", text), "the shape is not said:\n" + text)


@test
def guesses_of_leaks():
    """The one structure that fits size and pointers of what is lost, and what its members point to; of two none."""
    target = harness.start("guessed")
    blocks = {int(b["address"], 16): (b["type"] and b["type"].split(" +")[0], b["type_by"])
              for b in leaks(target, "--list")["blocks"]}
    expected = {"conn": ("struct conn", "guess"), "buf": ("struct buf", "guess"), "left": (None, None)}
    seen = {name: 0 for name in expected}
    for address, block in target.truth.blocks.items():
        name = block[0].split(".")[0]
        if name in expected:
            seen[name] += 1
            check_equal(blocks.get(address), expected[name], "%s at %#x" % (block[0], address))
    check_equal(seen, {"conn": 30, "buf": 60, "left": 10}, "lost blocks")


@test
def members_of_leaks():
    """--show decodes the first block of each group: the fixture's square has a side of 1 and a long name."""
    target = harness.start("cxx", "leaky")
    group = group_of(leaks(target, "--show"), "Square")
    members = {m["name"]: m for m in group["members"]}
    check_equal((members["side"]["type"], members["side"]["value"]), ("double", 1.0), "side")
    name = members["name._M_dataplus._M_p"]
    check(re.fullmatch(r"char \[\d+\]", name["target"]), "the name points to " + name["target"])
    check(name["text"].startswith("a text that does not fit"), "the name is %r" % name["text"])
    text = harness.memscope("leaks", "--show", target.pid, expect=1).out
    check(re.search(r'name\._M_dataplus\._M_p +char \* +0x[0-9a-f]+  "a text that', text),
          "no member in the text:\n" + text)


@test
def suppressed_by_type():
    """A pattern matches the class of the leader; what it holds goes with it. A prefix of nothing does not."""
    target = harness.start("cxx", "leaky")
    path = os.path.join(harness.scratch(), "types.supp")
    for pattern, suppressed in (("Square$", True), ("^Square", False)):
        with open(path, "w") as out:
            out.write("leak:%s\n" % pattern)
        report = leaks(target, "--suppressions", path)
        left = [g for g in report["groups"] if (g["type"] or "").endswith("Square")]
        check_equal((not left, report["suppressed"]["blocks"]), (suppressed, 2 if suppressed else 0), pattern)


@test
def without_types():
    """--no-types leaves classes by their symbols, and nothing else."""
    target = harness.start("cxx", "leaky")
    report = leaks(target, "--no-types", "--list")
    check_equal({b["type_by"] for b in report["blocks"]}, {None, "vtable"}, "evidence")
    check_equal(group_of(report, "Square")["holds"], [], "what it holds")


@test
def path_as_text():
    """The type, the member that an address is in, the members as a table, the expression above the chain."""
    target = harness.start("types_c")
    address = next(a for a, b in target.truth.blocks.items() if b[0] == "conn.0")
    out = harness.memscope("path", target.pid, hex(address + 8), expect=0).out
    check("\ntype: struct conn (by a pointer to it)\nmember: prev\n" in out, "type or member:\n" + out)
    table = out.split("\nwhat it holds\n")[1].split("\n\n")[0].splitlines()
    columns = [table[0].index(word) for word in ("member", "type", "value")]
    for line in table[1:]:
        check(all(line[c - 1] == " " and line[c] != " " for c in columns), "not aligned:\n" + "\n".join(table))
    report = harness.memscope("path", "-j", target.pid, hex(address), expect=0).json["path"]
    check("\n  %s\n" % report["chains"][0]["expression"] in out, "no expression:\n" + out)


if __name__ == "__main__":
    sys.exit(harness.main())
