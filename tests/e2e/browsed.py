# browsed.py - what only the browser shows: leaders and what they hold, maps of heap and memory, growth.
"""
Truth is what fixtures print of themselves, and /proc/PID/smaps. tests/e2e/browsed shows what memscope knows.
"""
import json
import os
import re
import subprocess
import sys
import time

import harness
from harness import cases, check, check_equal, test

BROWSED = os.path.join(os.path.dirname(harness.MEMSCOPE), "tests", "e2e", "browsed")


def browsed(*targets):
    run = subprocess.run([BROWSED] + [str(t.pid) for t in targets], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         timeout=300)
    check(run.returncode == 0, "browsed: status %d: %s" % (run.returncode, run.stderr.decode()))
    return json.loads(run.stdout)



@cases(("rings",), ("direct",), ("trees",), ("interior",))
def leaders_and_members(case):
    """Each lost block is held by one leader; each group has its blocks, and they are as lost as it says."""
    target = harness.start(*case)
    found = browsed(target)
    truth = target.truth
    leaders = {l["address"]: l for l in found["leaders"]}
    held = [h for l in found["leaders"] for h in l["held"]]
    check_equal(len(held), len(set(held)), "blocks that are held once")
    check(not set(held) & set(leaders), "a leader is held")
    unsure = set().union(*truth.rings) if truth.rings else set()
    check_equal(set(leaders) - unsure, truth.of_kind("definite") - unsure, "leaders")
    check_equal(set(held) - unsure, truth.of_kind("indirect") - unsure, "blocks that are held")
    check_equal(set(held) | set(leaders), truth.of_kind("definite", "indirect"), "blocks that are lost")
    for leader in found["leaders"]:
        check_equal(leader["bytes"], sum(truth.blocks[h][3] for h in leader["held"]), "bytes that are held")
    for group in found["groups"]:
        for member in group["members"]:
            said = truth.blocks[member]
            check(group["kind"] in said[2] or member in unsure, "%s is %s" % (said, group["kind"]))
            check_equal(truth.blocks[member][3], group["size"], "size of %#x" % member)
        if group["kind"] == "definite":
            check_equal(sum(leaders[m]["bytes"] for m in group["members"]), group["indirect_bytes"],
                        "bytes that a group holds")
            bytes_held = [leaders[m]["bytes"] for m in group["members"]]
            check_equal(bytes_held, sorted(bytes_held, reverse=True), "who holds most comes first")
    members = [m for g in found["groups"] for m in g["members"]]
    check_equal(sorted(members), sorted(truth.of_kind("definite", "indirect", "possible")),
                "members of all groups")


@test
def who_holds_what():
    """What a lost ring, a tail or a list hangs on is found under its own leader."""
    target = harness.start("rings")
    found = browsed(target)
    names = {a: b[0] for a, b in target.truth.blocks.items()}
    checked = 0
    for leader in found["leaders"]:
        name = names[leader["address"]]
        if not re.match(r"ring|self|tailed|joined", name):
            continue
        expected = {"ring": r"ring\.", "self": r"$", "self_inside": r"$", "tailed": r"tail(ed)?\.",
                    "joined_from": r"joined_"}[name.split(".")[0]]
        wrong = [names[h] for h in leader["held"] if not re.match(expected, names[h])]
        check(not wrong, "%s holds %s" % (name, wrong))
        wanted = [n for n in names.values() if re.match(expected, n) and n != name]
        check_equal(len(leader["held"]), len(wanted), "blocks that %s holds" % name)
        checked += 1
    check(checked >= 5, "only %d leaders were looked at" % checked)


@cases(("rings",), ("freed",), ("arenas",), ("mmapped",), ("trees",), ("brkforeign",))
def map_of_the_heap(case):
    """Every block is what the truth says it is, chunks lie one behind another, and sums are the same in pieces."""
    target = harness.start(*case)
    found = browsed(target)
    blocks = {c[2]: c for c in found["chunks"]}
    for address, (name, _, kinds, usable) in target.truth.blocks.items():
        check(address in blocks, "%s at %#x is no chunk" % (name, address))
        start, end, _, state = blocks[address]
        live, lost = kinds <= {"reachable", "possible"}, kinds <= {"definite", "indirect"}
        check(not live or state == "live", "%s at %#x is %s" % (name, address, state))
        check(not lost or state == "leaked", "%s at %#x is %s" % (name, address, state))
        check(start < address and address + usable <= end + 8, "the chunk of %s at %#x" % (name, address))
    for segment in found["segments"]:
        check_equal(segment["pieces"], segment["whole"], "sums of %#x" % segment["start"])
        inside = sorted(c for c in found["chunks"] if segment["start"] <= c[0] < segment["end"])
        check_equal(inside[0][0], segment["start"], "the first chunk")
        check_equal(inside[-1][1], segment["end"], "the last chunk's end")
        for before, after in zip(inside, inside[1:]):
            check_equal(before[1], after[0], "chunks one behind another")
        for number, state in enumerate(("live", "leaked", "free")):
            check_equal(segment["whole"][number], sum(c[1] - c[0] for c in inside if c[3] == state),
                        "bytes that are " + state)


def smaps(pid):
    """{start: (end, Rss, path)} as the kernel has it."""
    regions, start = {}, None
    with open("/proc/%d/smaps" % pid) as file:
        for line in file:
            head = re.match(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+ *(.*)", line)
            if head:
                start = int(head.group(1), 16)
                regions[start] = [int(head.group(2), 16), 0, head.group(3)]
            elif line.startswith("Rss:"):
                regions[start][1] = int(line.split()[1]) * 1024
    return regions


@cases(("arenas",), ("mmapped",), ("manythreads", 20))
def memory_map(case):
    """The regions are the kernel's, each once, with its Rss; heap, stacks and modules are told from the rest."""
    target = harness.start(*case)
    kernel = smaps(target.pid)
    found = browsed(target)["map"]
    ours = {r["start"]: [r["end"], r["rss"]] for r in found["regions"]}
    check_equal(len(ours), len(found["regions"]), "regions that are listed once")
    theirs = {start: r[:2] for start, r in kernel.items() if start < 1 << 63}
    ours = {start: r for start, r in ours.items() if start > 0} # [vsyscall] is beyond JSON's integers
    different = [(hex(s), ours.get(s), theirs.get(s)) for s in set(ours) | set(theirs)
                 if ours.get(s) != theirs.get(s)]
    check(not different, "regions (start, ours, the kernel's): %s" % different[:5])
    check_equal(found["rss"], sum(r["rss"] for r in found["regions"]), "the sum of Rss")
    uses = {r["start"]: r for r in found["regions"]}
    for start, (_, _, path) in kernel.items():
        if path in ("[heap]", "[stack]"):
            check_equal(uses[start]["use"], {"[heap]": "heap", "[stack]": "stacks"}[path], "use of " + path)
        elif "libc.so" in path or path.endswith("/" + case[0]):
            check_equal(uses[start]["use"], "modules", "use of " + path)
            check_equal(uses[start]["group"], path, "file of a region")
    tasks = {int(t) for t in os.listdir("/proc/%d/task" % target.pid)}
    check_equal({r["tid"] for r in found["regions"] if r["tid"]}, tasks, "threads whose stacks are named")


def counted(target, kinds):
    """Blocks and bytes that bigheap says it has."""
    notes = [n.split() for n in target.truth.notes["count"]]
    return [sum(int(n[column]) for n in notes if n[0] in kinds) for column in (1, 2)]


@test
def growth():
    """What two heaps differ by is the sum of what their groups do, and what they say of themselves."""
    small, big = harness.start("bigheap", 2000), harness.start("bigheap", 6000)
    found = browsed(small, big)["growth"]
    lost = ("definite", "indirect")
    before, after = counted(small, lost), counted(big, lost)
    check_equal([found["leaks"]["blocks"], found["leaks"]["bytes"]], [a - b for a, b in zip(after, before)],
                "growth of what is lost")
    check(found["leaks"]["blocks"] > 0, "nothing more was lost")
    before, after = (counted(t, lost + ("reachable", "possible")) for t in (small, big))
    grown = found["heap"]["blocks"]
    check(abs(grown - (after[0] - before[0])) < 50, "%d more blocks, but %s and %s" % (grown, before, after))
    for kind in ("heap", "leaks"):
        for what in ("blocks", "bytes"):
            check_equal(sum(g[what] for g in found[kind]["groups"]), found[kind][what],
                        "%s of groups of %s" % (what, kind))
        sizes = [g["bytes"] for g in found[kind]["groups"]]
        check_equal(sizes, sorted(sizes, reverse=True), "the order of groups of " + kind)
    check(any(g["before"] and g["now"] for g in found["heap"]["groups"]), "no group is in both")


@test
def nothing_grew():
    """A process that did nothing between two snapshots: each group is found again, and none has changed."""
    target = harness.start("owners")
    found = browsed(target, target)["growth"]
    for kind in ("heap", "leaks"):
        check(found[kind]["groups"], "no groups of " + kind)
        for group in found[kind]["groups"]:
            check_equal(group, {"blocks": 0, "bytes": 0, "before": True, "now": True}, "a group of " + kind)


@cases(("owners", 1000), ("owners", 30000))
def what_a_block_retains(case):
    """Each block is in one group, with what it retains; below it are those that it dominates directly."""
    target = harness.start(*case)
    found = browsed(target)
    addresses = {b[0]: a for a, b in target.truth.blocks.items()}
    blocks = {}
    for group in found["blocks"]:
        members = group["members"]["list"]
        check_equal((group["members"]["count"], len(members)), (group["blocks"],) * 2, "blocks of a group")
        check_equal([m["retained"] for m in members], sorted((m["retained"] for m in members), reverse=True),
                    "who retains most comes first")
        check(not set(blocks) & {m["address"] for m in members}, "a block in two groups")
        blocks.update({m["address"]: m for m in members})
    check(set(target.truth.blocks) <= set(blocks), "blocks in no group")
    for note in target.truth.notes["retained"]:
        name, size, count = note.split()
        owner = blocks[addresses[name]]
        check_equal((owner["retained"], owner["blocks"]), (int(size), int(count)), "retained by " + name)
    below = {int(a): r for a, r in found["retained"].items()}
    placed = 0
    for note in target.truth.notes["under"]:
        name, under = note.split()
        holders = [a for a, r in below.items() if addresses[name] in {o["address"] for o in r["list"]}]
        siblings = below[addresses[under]] if under != "roots" else {"count": 0, "list": []}
        if not holders and siblings["count"] > len(siblings["list"]): # only the biggest are listed
            check(min(o["retained"] for o in siblings["list"]) >= blocks[addresses[name]]["retained"], name)
            continue
        check_equal(holders, [] if under == "roots" else [addresses[under]], "who retains %s" % name)
        placed += under != "roots"
    check(placed >= 5, "only %d blocks were placed" % placed)
    for address, owner in blocks.items():
        listed = below[address]["list"]
        if len(listed) == below[address]["count"] and owner["retained"]:
            check_equal(owner["size"] + sum(o["retained"] for o in listed), owner["retained"], "sum of %#x" % address)


@test
def locals_of_stacks():
    """Each call of work() has a `local` that points to its caller's; the innermost has got the buffer."""
    target = harness.start("frames_c_O0", truth=False)
    time.sleep(0.2)
    stacks = {}
    for value in browsed(target)["locals"]:
        frame = stacks.setdefault(value["tid"], {}).setdefault(value["frame"], {"function": value["function"]})
        frame["%s.%s" % (value["name"], value["path"])] = value
    seen = 0
    for frames in stacks.values():
        frames = [f for _, f in sorted(frames.items())]
        calls = [f for f in frames if f["function"] == "work"]
        for callee, caller in zip(calls, calls[1:]):
            check_equal(callee["local.next"]["value"], caller["local.buffer"]["at"], "what a local points to")
        text = [f["text."] for f in frames if f["function"] == "inlined_inner"]
        check_equal(len(text), 1, "functions that have text")
        check(text[0]["to"] and text[0]["to"] == text[0]["value"], "text is no block: %s" % text[0])
        check_equal((calls[0]["local.buffer"]["to"], calls[0]["local.count"]["value"]), (text[0]["to"], 100), "local")
        check(calls[-1]["from."]["to"], "the first caller's is a block")
        seen += len(calls)
    check_equal((len(stacks), seen), (3, 4 + 4 + 3), "threads and calls of work()")


if __name__ == "__main__":
    sys.exit(harness.main())
