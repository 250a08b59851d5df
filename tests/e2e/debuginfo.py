# debuginfo.py - debug information that is broken or huge: no crash, no hang, an answer in good time.
import os
import random
import shutil
import subprocess
import sys
import time
import zlib

import harness
import typetruth
from harness import cases, check, test

# Broken copies for each section and fixture; by hand many more: DEBUGINFO_ROUNDS=100.
ROUNDS = int(os.environ.get("DEBUGINFO_ROUNDS", "3"))
COPIES = 30 if os.environ.get("SANITIZERS") == "yes" else 150
# The first answer may take so many times as long as a checksum of the file, which looks at each byte once.
# zlib does 3 GB/s: 10 s for a file of 1 GB.
MOST = 100 if os.environ.get("SANITIZERS") == "yes" else 30
SECTIONS = ("info", "abbrev", "str", "line", "line_str", "loclists", "rnglists", "aranges", "addr",
            "str_offsets", "types", "ranges", "loc")


def sections(path):
    """{name: (offset, size)} of the debug sections of an ELF file."""
    done = subprocess.run([harness.tool("readelf"), "-SW", path], check=True, text=True,
                          stdout=subprocess.PIPE)
    found = {}
    for line in done.stdout.splitlines():
        words = line.replace("[ ", "[").split()
        if len(words) > 5 and words[1].startswith(".debug_"):
            found[words[1][len(".debug_"):]] = (int(words[4], 16), int(words[5], 16))
    return found


def broken(path, where, seed, flips):
    """A copy with FLIPS bytes of section WHERE changed."""
    copy = os.path.join(harness.scratch(), "broken-%s-%d" % (where, seed))
    shutil.copy(path, copy)
    offset, size = sections(path)[where]
    chance = random.Random(seed)
    with open(copy, "r+b") as file:
        for _ in range(flips):
            file.seek(offset + chance.randrange(size))
            file.write(bytes([chance.choice((0, 0xff, 0x7f, 0x80, chance.randrange(256)))]))
    return copy


def look(path, options=()):
    """All commands on a target with such debug information; they may know less, or nothing."""
    target = harness.Target([path])
    # the worst block to look at is one that everything leads to
    address = max(target.truth.blocks)
    for command in (("heap", "-j", "--list"), ("leaks", "-j", "--list"),
                    ("path", "-j", "-n", "5")):
        arguments = [target.pid] + ([hex(address)] if command[0] == "path" else [])
        run = harness.memscope(*command, *options, *arguments, expect=(0, 1, 4))
        check(run.json is not None, "no report\n%s" % run)
    target.check_unharmed()
    target.stop()


@cases(*[(name, where) for name, some in (
    ("types_c_O0", ("info", "abbrev", "str", "line", "aranges")),
    ("types_c_O2", ("info", "abbrev", "loclists", "rnglists")),
    ("types_c_units4", ("types", "info", "abbrev")),
    ("types_c_clang", ("info", "abbrev", "addr", "str_offsets")),
    ("types_cxx", ("info", "abbrev", "str"))) for where in some])
def flipped(case):
    """Bytes of one section are changed, a few or many, by a fixed seed."""
    name, where = case
    path = harness.fixture(name)
    check(where in sections(path), "%s has no .debug_%s" % (name, where))
    for seed in range(ROUNDS):
        copy = broken(path, where, seed, (1, 5, 50, 1000)[seed % 4])
        try:
            look(copy)
        except (harness.Failure, subprocess.TimeoutExpired) as failure:
            raise harness.Failure("seed %d, %s: %s" % (seed, where, failure))
        os.unlink(copy)


@cases("info", "abbrev", "str")
def cut(where):
    """The file ends in the middle of a section."""
    path = harness.fixture("types_c_O0")
    copy = os.path.join(harness.scratch(), "linked-cut")
    debug = copy + ".debug"
    for command in (["objcopy", "--only-keep-debug", path, debug],
                    ["objcopy", "--strip-all", "--add-gnu-debuglink=" + debug, path, copy]):
        subprocess.run([harness.tool(command[0])] + command[1:], check=True)
    offset, size = sections(debug)[where]
    os.truncate(debug, offset + size // 2)
    look(copy)
    for file in (copy, debug):
        os.unlink(file)


def huge():
    """types_cxx with the debug information of many more units of its kind, which are not alike."""
    directory = os.path.join(harness.scratch(), "huge")
    os.makedirs(directory)
    source, _ = harness.catalogue()["types_cxx"]
    compiler = os.environ.get("CXX", "g++").split() + harness.COMMON_FLAGS
    source = os.path.join(harness.FIXTURE_SOURCES, source)

    def run(*command):
        subprocess.run(list(command), check=True, cwd=directory)

    run(*compiler, "-c", source, "-o", "first.o")
    # each copy has classes of its own, as the units of a big program have
    for i in range(4):
        run(*compiler, "-Dapp=app%d" % i, "-c", source, "-o", "more%d.o" % i)
    copies = ["more%d.o" % i for i in range(4)]
    for i in range(4, COPIES):
        copies.append("copy%d.o" % i)
        os.link(os.path.join(directory, copies[i % 4]), os.path.join(directory, copies[i]))
    # what is defined more than once is taken from the first; the debug information of all stays
    run(*compiler, "-Wl,-z,muldefs", "first.o", *copies, "-o", "huge")
    for file in ["first.o"] + copies:
        os.unlink(os.path.join(directory, file))
    return os.path.join(directory, "huge")


@test
def a_huge_file():
    """The first answer comes within a ratio of the time that a checksum of the file takes; and it is right."""
    path = huge()
    size = os.path.getsize(path)
    target = harness.Target([path])
    reading, answering = [], []
    for _ in range(3):
        began = time.monotonic()
        checksum = 0
        with open(path, "rb", 0) as file:
            for piece in iter(lambda: file.read(1 << 20), b""):
                checksum = zlib.crc32(piece, checksum)
        reading.append(time.monotonic() - began)
        address = min(a for a, b in target.truth.blocks.items() if b[0].startswith("map."))
        run = harness.memscope("path", "-j", target.pid, hex(address), expect=0, timeout=300)
        check("_Rb_tree_node" in str(run.json["path"]["block"]["type"]), "the type is %s"
              % run.json["path"]["block"]["type"])
        answering.append(run.seconds)
    ratio = min(answering) / min(reading)
    print("# %d MB of debug information: checksum in %.2f s, answer in %.2f s: %.1f times that"
          % (size >> 20, min(reading), min(answering), ratio))
    check(ratio <= MOST, "%.1f times the time of a checksum of the file" % ratio)
    answers, _ = typetruth.live_blocks(target, timeout=300)
    typetruth.check_answers(target.truth, answers, {"known": 1.0})


if __name__ == "__main__":
    sys.exit(harness.main())
