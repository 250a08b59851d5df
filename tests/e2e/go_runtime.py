# go_runtime.py - a Go program is known as one, with its version, and how its runtime is laid out.
"""
The oracle is the program (runtime.Version() and debug.ReadBuildInfo() in it), the DWARF that its
compiler wrote, and the same program with its symbols for one without.
"""

import json
import os
import re
import subprocess
import sys

import golang
import harness
from harness import Target, cases, check, check_equal, test

GOINFO = os.path.join(os.path.dirname(harness.MEMSCOPE), "tests", "e2e", "goinfo")
STRIPPED = "-ldflags=-s -w"
PIE = "-buildmode=pie"
VARIANTS = ((), (PIE,), ("cgo",))
TAIL = bytes.fromhex("f932433186182072008242104116d8f2")  # infoEnd, src/cmd/go/internal/modload


def goinfo(target, *names, fails=False):
    """What memscope knows of the runtime in a target; null when it is no Go program."""
    done = subprocess.run([GOINFO, str(target.pid)] + list(names), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=harness.TIMEOUT)
    if fails:
        check(done.returncode == 3, "goinfo: %d, and not 3\n%s" % (done.returncode, done.stdout))
        return done.stderr.strip()
    check(done.returncode == 0, "goinfo: %d\n%s" % (done.returncode, done.stderr))
    return json.loads(done.stdout)


def build(version, variant, *flags, name="objects"):
    """A variant of the fixture: flags, or "cgo"."""
    flags = tuple(flag for flag in variant if flag != "cgo") + flags
    return golang.go_program(name, version, flags, cgo="cgo" in variant)


def load_bias(target):
    """What is added to the addresses in a program's file: the first map, of a PIE."""
    with open(target.command[0], "rb") as file:
        if file.read(18)[16] == 2:  # ET_EXEC
            return 0
    with open("/proc/%d/maps" % target.pid) as maps:
        start = next(int(line.split("-")[0], 16) for line in maps if target.command[0] in line)
    headers = subprocess.run([harness.tool("readelf"), "-lW", target.command[0]],
                             stdout=subprocess.PIPE, text=True, check=True).stdout
    return start - min(int(address, 16) for address in
                       re.findall(r"^ +LOAD +\S+ (0x\S+)", headers, re.M))


@cases(*golang.versions())
def version_and_module(version):
    for variant in VARIANTS:
        for flags in (), (STRIPPED,):
            with Target([build(version, variant, *flags)]) as target:
                found = goinfo(target)
                check(found is not None, "a Go program is not known as one")
                check_equal(found["version"], target.truth.note("version"), "the version")
                check_equal(found["minor"], golang.minor(version), "the minor version")
                check_equal(found["module"], target.truth.note("module"), "the main module")
                check("path\t%s\n" % target.truth.note("package") in found["info"],
                      "the package is not in %r" % found["info"])


@cases(*golang.versions())
def known_layouts_are_those_of_the_compiler(version):
    """What the table of versions has is what the DWARF says, and nothing that is needed misses."""
    with Target([build(version, (), name="busy")]) as target:
        found = goinfo(target)
    check(found["fields"], "no reader asks for any field")
    wrong = [field for field in found["fields"]
             if field["dwarf"] != field["table"] or (field["needed"] and not field["table"])]
    check(not wrong, "\n".join(map(str, wrong)))


def relative(found, bias):
    """Addresses of a module as they are in the file."""
    module = dict(found["modules"][0])
    for name in ("gcdata", "gcbss"):  # made at the start, wherever there was room
        del module[name]
    return {name: [part - bias if part else 0 for part in (value if isinstance(value, list)
                                                          else [value])]
            for name, value in module.items()}


def strip(program):
    """The same program without symbols and debug information; all else is where it was."""
    out = program + ".stripped"
    if not os.path.exists(out):
        subprocess.run([harness.tool("strip"), "-o", out, program], check=True)
    return out


@cases(*golang.versions())
def modules_of_stripped_programs(version):
    """Their addresses are those of the same program with symbols."""
    for variant in VARIANTS:
        with Target([build(version, variant)]) as whole, \
                Target([strip(build(version, variant))]) as stripped:
            check_equal(relative(goinfo(stripped), load_bias(stripped)),
                        relative(goinfo(whole), load_bias(whole)), "the module of %s" % (variant,))


def symbols(program):
    """{name: address} of the data of the runtime, by binutils."""
    said = subprocess.run([harness.tool("nm"), program], stdout=subprocess.PIPE, text=True,
                          check=True).stdout
    return {words[2]: int(words[0], 16) for words in map(str.split, said.splitlines())
            if len(words) == 3 and words[1] in "bBdDrR" and "runtime" in words[2]}


# What readers cannot do without, and what is only there while it is used.
GLOBALS = ["runtime." + name for name in (
    "mheap_ gcController memstats work sched allgs allglen allp allm m0 g0 mbuckets bbuckets "
    "xbuckets allfin MemProfileRate blockprofilerate zerobase gcphase sweep forcegcperiod "
    "gcBlackenEnabled writeBarrier gomaxprocs runtimeInitTime itabTable waitReasonStrings "
    "stackpool stackLarge semtable firstmoduledata physPageSize").split()]
SOMETIMES = ["runtime." + name for name in (
    "mutexprofilerate allgptr fingRunning fingStatus class_to_size finq gcCleanups mProf "
    "mProfCycle iscgo gcCPULimiter").split()] + ["internal/runtime/gc.SizeClassToSize"]


@cases(*golang.versions())
def globals_of_stripped_programs(version):
    """They are where the same program has symbols for them; what is not known is 0, never wrong."""
    wrong = []
    for variant in VARIANTS:
        program = build(version, variant, name="busy")
        expected = symbols(program)
        with Target([strip(program)]) as target:
            found = goinfo(target, *GLOBALS + SOMETIMES)["globals"]
            bias = load_bias(target)
        for name, address in sorted(found.items()):
            if address and address - bias != expected.get(name):
                wrong.append("%s of %s is at %#x and not %#x" % (
                    name, variant, address - bias, expected.get(name, 0)))
            if not address and name in GLOBALS and name in expected:
                wrong.append("%s of %s is not found" % (name, variant))
    check(not wrong, "\n".join(wrong))


# Versions that no toolchain at hand has: a stripped program says that it was built with them.

def pretend(program, version):
    """A copy of PROGRAM (of 1.18 or later) whose build information has another version."""
    with open(program, "rb") as file:
        image = bytearray(file.read())
    sections = subprocess.run([harness.tool("readelf"), "-SW", program], stdout=subprocess.PIPE,
                              text=True, check=True).stdout
    place = re.search(r"\.go\.buildinfo +\S+ +\S+ (\S+) (\S+)", sections)
    start, size = (int(number, 16) for number in place.groups())
    modules = b"m" * 16 + b"path\tpretended\nmod\texample.com/pretended\t(devel)\t\n" + TAIL
    text = version.encode()
    info = bytes([len(text)]) + text + bytes([len(modules)]) + modules
    check(len(info) + 32 <= size, "%r is too long" % version)
    image[start + 32:start + 32 + len(info)] = info
    path = os.path.join(harness.scratch(), "pretended-%d" % len(os.listdir(harness.scratch())))
    with open(path, "wb") as file:
        file.write(image)
    os.chmod(path, 0o755)
    return path


@cases("go1.%drc2", "go1.%d", "go1.%d-custom.3", "go1.%d.12 X:nocoverageredesign",
       "go1.%d.12-X:loopvar,boringcrypto", "go1.%d.3-fork X:synctest linux/amd64")
def other_names_of_a_version(version):
    version %= golang.minor("1.22.12")
    with Target([pretend(golang.go_program("objects", "1.22.12", [STRIPPED]), version)]) as target:
        found = goinfo(target)
        check_equal((found["version"], found["minor"]), (version, 22), "the version")
        check_equal(found["module"], "example.com/pretended", "the main module")
        check(found["modules"], "no module is found")


@cases("go1.99.1", "devel go1.27-abc0123 Tue Jan 6", "go1.22.12 X:staticlockranking",
       "go1.22-X:loopvar,noswissmap")
def unknown_versions(version):
    """Nothing is guessed without debug information; with it, the version does not matter."""
    with Target([pretend(golang.go_program("objects", "1.22.12", [STRIPPED]), version)]) as target:
        message = goinfo(target, fails=True)
        check(version in message and "debug information" in message, message)
    with Target([pretend(golang.go_program("objects", "1.22.12"), version)]) as target:
        check_equal(goinfo(target)["version"], version, "the version")


def without_build_information(program):
    """A copy of PROGRAM as other builders leave one: only the tables of the code say that it is Go."""
    with open(program, "rb") as file:
        image = bytearray(file.read())
    sections = subprocess.run([harness.tool("readelf"), "-SW", program], stdout=subprocess.PIPE,
                              text=True, check=True).stdout
    place = re.search(r"\.go\.buildinfo +\S+ +\S+ (\S+) (\S+)", sections)
    start, size = (int(number, 16) for number in place.groups())
    check(bytes(image[start:start + 14]) == b"\xff Go buildinf:", "no build information is there")
    image[start:start + size] = bytes(size)
    path = os.path.join(harness.scratch(), "bare-%d" % len(os.listdir(harness.scratch())))
    with open(path, "wb") as file:
        file.write(image)
    os.chmod(path, 0o755)
    return path


@cases(*golang.versions())
def version_without_build_information(version):
    for variant in VARIANTS:
        with Target([without_build_information(strip(build(version, variant)))]) as target:
            found = goinfo(target)
            check_equal((found["version"], found["module"]), (target.truth.note("version"), None),
                        "version and module")
            check(found["modules"], "no module is found")


@test
def no_go_program():
    """Its data says that it is one, but there is no Go code in it."""
    with harness.start("gomagic") as target:
        check_equal(goinfo(target), None, "what is known of the runtime of a C program")
    with harness.start("direct") as target:
        check_equal(goinfo(target), None, "what is known of the runtime of a C program")


if __name__ == "__main__":
    sys.exit(harness.main())
