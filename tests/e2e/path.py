# path.py - `memscope path`: each link of a chain is really there, roots are named as gdb names them.
"""
The oracle of a chain is the memory of the target, which does nothing: the word that a link says it
is in must hold an address in the block that the link leads to. That it is the shortest is known
from the fixture.
"""

import os
import random
import re
import struct
import subprocess
import sys

import harness
import real
from harness import cases, check, check_equal, test

# One in so many is looked at with its types, which takes several times as long.
TYPED = 10
SAMPLE = 20 if os.environ.get("SANITIZERS") == "yes" else 200


def path(target, address, *options, **more):
    """The report on an address, as JSON."""
    run = harness.memscope("path", "-j", *options, getattr(target, "pid", target), hex(address),
                           expect=more.pop("expect", 0), **more)
    return run.json["path"]


def word_at(pid, address):
    with open("/proc/%d/mem" % pid, "rb", 0) as memory:
        memory.seek(address)
        return struct.unpack("<Q", memory.read(8))[0]


def check_link(pid, holder, step, mangled=False):
    """The word at `holder` points into the block of `step`, to where it is said to."""
    address, into = int(step["address"], 16), step["into"]
    word = word_at(pid, holder)
    if word == address + into:
        return
    # an unaligned pointer is known to its granule alone
    check(word // 16 == (address + into) // 16 and word % 8 and into % 16 == 8 or mangled,
          "the word at %#x is %#x, not %#x+%d" % (holder, word, address, into))


def demangled(pid, address):
    """May the word be a pointer that setjmp() keeps mangled? Then it is no plain one."""
    return word_at(pid, address) >> 47 != 0


def check_chain(pid, chain, goal):
    """Every link of a chain, and its end."""
    steps, omitted = chain["steps"], chain["omitted"]
    check_equal(len(steps) + omitted, chain["length"], "length of the chain")
    root = chain["root"]
    if root and root["kind"] not in ("register", "kernel") and root["address"]:
        address = int(root["address"], 16)
        mangled = root["kind"] in ("stack", "tls", "data") and demangled(pid, address)
        check_link(pid, address, steps[0], mangled)
    for i, step in enumerate(steps[:-1]):
        if not (omitted and i == len(steps) // 2 - 1):
            check_link(pid, int(step["address"], 16) + step["offset"], steps[i + 1])
    check_equal(steps[-1]["offset"], None, "offset in the last step")
    check_equal(int(steps[-1]["address"], 16), goal, "the last step")


class Chains:
    """The fixture and its notes."""

    def __init__(self):
        self.target = harness.start("chains")
        self.pid = self.target.pid
        notes = self.target.truth.notes
        self.address = {b[0]: a for a, b in self.target.truth.blocks.items()}
        self.roots, self.threads = {}, {}
        for name, kind, word in (n.split() for n in notes["root"]):
            self.roots[name] = (kind.replace("_", " "), int(word, 16))
        for name, tid in (n.split() for n in notes["thread"]):
            self.threads[name] = int(tid)
        self.chains = [(n.split()[0], int(n.split()[1]), n.split()[2]) for n in notes["chain"]]


def check_root(fixture, name, root):
    """A chain's root is the one of that name."""
    kind, word = fixture.roots[name]
    check_equal(root["kind"], kind, "kind of root %s" % name)
    check_equal(int(root["address"] or "0", 16), word, "address of root %s" % name)
    if name in fixture.threads:
        check_equal(root["thread"], fixture.threads[name], "thread of root %s" % name)


@test
def shortest_chains():
    """Of each block of the fixture: its root, the length, every link, the class and the size."""
    fixture = Chains()
    for name, depth, root in fixture.chains:
        goal = fixture.address[name]
        report = path(fixture, goal)
        block, chain = report["block"], report["chains"][0]
        check_equal((int(block["address"], 16), block["offset"]), (goal, 0), name)
        check_equal(block["size"], fixture.target.truth.blocks[goal][3], "size of " + name)
        check(block["class"] in fixture.target.truth.blocks[goal][2],
              "%s is %s" % (name, block["class"]))
        check_equal(chain["length"], depth, "length of the chain to " + name)
        check_root(fixture, root, chain["root"])
        check_chain(fixture.pid, chain, goal)
    fixture.target.check_unharmed()


@test
def more_chains():
    """-n gives chains from different roots, the shortest first, and not more than there are."""
    fixture = Chains()
    report = path(fixture, fixture.address["both.0"], "-n", 5)
    check_equal([c["length"] for c in report["chains"]], [2, 3], "lengths")
    for chain, name in zip(report["chains"], ("table6", "table7")):
        check_root(fixture, name, chain["root"])
        check_chain(fixture.pid, chain, fixture.address["both.0"])
    check_equal((report["incoming_roots"], report["incoming_blocks"]), (0, 2), "who points to it")
    holders = {(int(e["block"]["address"], 16), e["offset"]) for e in report["incoming"]}
    check_equal(holders, {(fixture.address["near.0"], 40), (fixture.address["far.1"], 40)},
                "holders")


@test
def long_chain():
    """Of a list of 3000 blocks both ends are shown, and the length is right."""
    fixture = Chains()
    goal = fixture.address["in_long.2999"]
    chain = path(fixture, goal)["chains"][0]
    check_equal((chain["length"], chain["omitted"], len(chain["steps"])), (3000, 2000, 1000),
                "length, omitted, steps")
    text = harness.memscope("path", fixture.pid, hex(goal), expect=0).out
    check("2,976 more" in text, "the text does not say what it leaves out:\n" + text)
    check("2,000 more" in harness.memscope("path", "-v", fixture.pid, hex(goal), expect=0).out,
          "the long text does not say what it leaves out")


@test
def lost_blocks():
    """The chain to a lost block begins with the leader of its leak."""
    fixture = Chains()
    leader = fixture.address["leader.0"]
    for note in fixture.target.truth.notes["lost"]:
        name, depth = note.split()
        report = path(fixture, fixture.address[name])
        check_equal(report["block"]["class"], "definite" if depth == "1" else "indirect", name)
        check_equal(int(report["leader"]["address"], 16), leader, "leader of " + name)
        check_equal(report["leader"]["indirect"]["blocks"], 4, "blocks that it holds")
        chain = report["chains"][0]
        check_equal((chain["root"], chain["length"]), (None, int(depth)), "chain to " + name)
        check_equal(int(chain["steps"][0]["address"], 16), leader, "the first step")
        check_chain(fixture.pid, chain, fixture.address[name])


@test
def free_chunks():
    """What was freed is said to be, in JSON and text; it has no chain."""
    fixture = Chains()
    for kind in ("free", "tcache", "fastbin"):
        for note in fixture.target.truth.notes[kind]:
            address = int(note, 16)
            report = path(fixture, address)
            check_equal((report["block"]["class"], report["block"]["live"]), (kind, False), note)
            check_equal((report["chains"], report["incoming"]), ([], []), "chains of a free chunk")
            text = harness.memscope("path", fixture.pid, note, expect=0).out
            check("free" in text.splitlines()[0], "the text does not say it: " + text)


@test
def inside_and_behind():
    """An address inside a block is in that block; the header of the next is the allocator's."""
    fixture = Chains()
    goal = fixture.address["in_table.2"]
    size = fixture.target.truth.blocks[goal][3]
    for offset in (1, 8, size - 1):
        block = path(fixture, goal + offset)["block"]
        check_equal((int(block["address"], 16), block["offset"]), (goal, offset), "block, offset")
    block = path(fixture, goal + size)["block"]
    check_equal((block["offset"], block["size"]), (size, size), "offset of the header behind it")
    decimal = harness.memscope("path", "-j", fixture.pid, goal, expect=0).json["path"]
    check_equal(int(decimal["block"]["address"], 16), goal, "block of a decimal address")


@test
def edges():
    """A list's node is pointed to by the one before, and points to the one behind it."""
    fixture = Chains()
    a, b, c = (fixture.address["in_table.%d" % i] for i in (1, 2, 3))
    report = path(fixture, b)
    check_equal([(int(e["block"]["address"], 16), e["offset"], e["into"])
                 for e in report["incoming"]], [(a, 24, 0)], "incoming")
    check_equal([(int(e["block"]["address"], 16), e["offset"], e["into"])
                 for e in report["outgoing"]], [(c, 24, 0)], "outgoing")
    first = path(fixture, fixture.address["in_table.0"])
    check_equal((first["incoming_roots"], first["incoming"][0]["root"]["name"]),
                (1, "global chains.c:chain_table[3]"), "the root that points to the first")
    bare = path(fixture, fixture.address["in_table.0"], "--no-types")
    check_equal(bare["incoming"][0]["root"]["name"], "chains:chain_table+0x18", "without types")
    word = path(fixture, fixture.roots["table3"][1])
    check_equal((word["block"], word["region"]["place"]["symbol"], word["region"]["place"]["offset"]),
                (None, "chain_table", 24), "the root's own word")
    check_equal([int(e["block"]["address"], 16) for e in word["outgoing"]],
                [fixture.address["in_table.0"]], "what the root's word points to")


def gdb_symbol(pid, address):
    """(symbol, offset) by gdb."""
    done = subprocess.run([harness.tool("gdb"), "-nx", "-batch", "-p", str(pid), "-ex",
                           "info symbol %#x" % address], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True,
                          timeout=harness.TIMEOUT)
    found = re.search(r"^(\S+)(?: \+ (\d+))? in section", done.stdout, re.M)
    check(found, "gdb knows no symbol at %#x: %s" % (address, done.stdout))
    return found.group(1), int(found.group(2) or 0)


@cases("table3", "static", "table7")
def symbols(name):
    """Roots in data are named as gdb and nm name them."""
    fixture = Chains()
    block = next(b for b, depth, root in fixture.chains if root == name and depth == 1)
    root = path(fixture, fixture.address[block])["chains"][0]["root"]
    check_equal((root["symbol"], root["offset"]),
                gdb_symbol(fixture.pid, fixture.roots[name][1]), "symbol and offset")
    listing = subprocess.run([harness.tool("nm"), harness.fixture("chains")], check=True,
                             stdout=subprocess.PIPE, text=True).stdout
    start = next(int(line.split()[0], 16) for line in listing.splitlines()
                 if line.split()[-1] == root["symbol"])
    check_equal((start + root["offset"]) % 4096, fixture.roots[name][1] % 4096, "place by nm")


@test
def names():
    """How roots that are no global variables are called."""
    fixture = Chains()

    def name_of(block):
        return path(fixture, fixture.address[block])["chains"][0]["root"]["name"]

    tids = fixture.threads
    check_equal(name_of("in_rbx.0"), "thread %d 'chains' register rbx" % tids["rbx"], "rbx")
    check_equal(name_of("in_xmm.0"), "thread %d 'chains' register xmm5" % tids["xmm5"], "xmm5")
    check_equal(name_of("in_epoll.0"), "kernel: epoll", "epoll")
    check_equal(name_of("in_tls.0"), "thread %d 'chains' TLS chain_tls" % tids["tls"], "TLS")
    check(re.fullmatch(r"thread \d+ 'chains' TLS chain_tls", name_of("in_thread_tls.0")), "thread's TLS")
    check_equal(name_of("on_stack.0"), "thread %d 'chains' frame 2 stack_main() local slot" % tids["stack"], "stack")
    check(re.fullmatch(r"anonymous map 0x[0-9a-f]+\+0x[0-9a-f]+", name_of("in_anon.0")),
          "anonymous map: " + name_of("in_anon.0"))
    check_equal(name_of("in_shared.0"), "shared map /memfd:chains+0x10a8", "shared map")


@test
def a_core_says_the_same():
    """The report on a core is that on the process it was taken from."""
    fixture = Chains()
    core = os.path.join(harness.scratch(), "chains.core")
    subprocess.run([harness.tool("gcore"), "-o", core, str(fixture.pid)], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    core += ".%d" % fixture.pid
    for number, (name, _, root) in enumerate(fixture.chains):
        if root in ("epoll", "shared"):  # a core has none of these
            continue
        options = () if number % TYPED == 0 else ("--no-types",)
        live = path(fixture, fixture.address[name], *options)
        dead = path(core, fixture.address[name], *options, expect=(0, 4))
        for report in (live, dead):  # a system call that gdb interrupted may change these
            for chain in report["chains"]:
                chain["root"].pop("name")
        check_equal(dead["chains"], live["chains"], "chains to " + name)
        check_equal(dead["block"], live["block"], "block " + name)


@test
def refusals():
    """Addresses in no map, and command lines that make no sense."""
    fixture = Chains()
    for address in (0x10, 0xffff_ffff_ffff_fff0, 0x7fff_ffff_f000):
        run = harness.memscope("path", fixture.pid, hex(address), expect=3)
        check("%#x" % address in run.err and "map" in run.err, "no clear message: " + run.err)
    for arguments in ((fixture.pid,), (fixture.pid, "here"), (fixture.pid, "0x"), (fixture.pid, "-5"),
                      (fixture.pid, "1", "2"), ("-n", "0", fixture.pid, "0x10"),
                      ("-n", "x", fixture.pid, "0x10"), (fixture.pid, "0x10000000000000000")):
        harness.memscope("path", *arguments, expect=2)
    fixture.target.check_unharmed()


@cases(real.Nginx, real.Python)
def real_programs(kind):
    """Each link of the chains to random reachable blocks of an idle program is in its memory."""
    program = kind()
    try:
        pid = program.inspected()[-1]
        run = harness.leaks(pid, kinds=("reachable",))
        blocks = sorted(harness.listed(run))
        for number, address in enumerate(random.Random(1).sample(blocks, min(SAMPLE, len(blocks)))):
            options = () if number % TYPED == 0 else ("--no-types",)
            report = path(pid, address, "-n", 2, *options)
            check_equal(report["block"]["class"], "reachable", "class of %#x" % address)
            check(report["chains"], "no chain to %#x" % address)
            check(report["incoming"], "nothing points to %#x" % address)
            for chain in report["chains"]:
                check_chain(pid, chain, address)
        program.target.check_unharmed()
    finally:
        program.stop()


if __name__ == "__main__":
    sys.exit(harness.main())
