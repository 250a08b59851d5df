# cores.py - cores of gcore and of the kernel give the same leaks as the live process did.
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time

import harness
from harness import cases, check, check_equal, test

FIXTURES = [("direct",), ("trees",), ("rings", 500), ("interior",), ("heuristics",),
            ("roots_data",), ("roots_dtls",), ("roots_stack",), ("roots_regs", "wait"),
            ("roots_altstack",), ("roots_coro",), ("roots_threads",), ("stale",), ("freed",),
            ("arenas",), ("memalign",), ("mmapped",), ("brkforeign",), ("brkblocked",),
            ("cxx", "leaky"), ("direct_static",), ("direct_static_pie",)]


def gcore(target):
    prefix = os.path.join(harness.scratch(), "gcore")
    done = subprocess.run([harness.tool("gcore"), "-o", prefix, str(target.pid)],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=harness.TIMEOUT)
    path = "%s.%d" % (prefix, target.pid)
    check(os.path.exists(path), "gcore wrote no core:\n" + done.stdout[-1000:])
    return path


_kept = {}


def kept_core(*case):
    """A core of a fixture, made once."""
    if case not in _kept:
        target = harness.start(*case)
        _kept[case] = gcore(target)
        target.stop()
    return _kept[case]


def kernel_core_pattern():
    """Whether the kernel writes cores to the directory of the dying process."""
    with open("/proc/sys/kernel/core_pattern") as file:
        pattern = file.read().strip()
    return pattern if pattern and pattern[0] not in "|/" else None


def start_with_cores(case):
    """A fixture in a directory of its own that leaves a core there."""
    directory = os.path.join(harness.scratch(), "core-%d" % time.monotonic_ns())
    os.makedirs(directory)
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    target = harness.start(*case, cwd=directory,
                           preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, unlimited))
    return target, directory


def kernel_core(target, directory):
    os.kill(target.pid, signal.SIGQUIT)
    target.process.wait(harness.TIMEOUT)
    files = [f for f in os.listdir(directory) if "core" in f]
    check(len(files) == 1, "the kernel left %s in place of one core" % files)
    return os.path.join(directory, files[0])


def notes(path):
    """The bytes of a core's notes, where registers are."""
    with open(path, "rb") as core:
        header = core.read(64)
        count = struct.unpack_from("<H", header, 56)[0]
        core.seek(struct.unpack_from("<Q", header, 32)[0])
        segments = [struct.unpack("<IIQQQQQQ", core.read(56)) for _ in range(count)]
        found = b""
        for segment in segments:
            if segment[0] == 4:  # PT_NOTE
                core.seek(segment[2])
                found += core.read(segment[5])
    return found


def forget_what_gdb_lost(truth, live, path):
    """
    gdb before 14 has fixed places for the AVX-512 registers, which are Intel's: on other CPUs its
    cores miss some of them. What is in no note of the core cannot be found there.
    """
    registers = notes(path)
    for address, (name, size, kinds, usable) in list(truth.blocks.items()):
        if (name.startswith(("zmm", "opmask")) and kinds == {"reachable"}
                and struct.pack("<Q", address) not in registers):
            truth.blocks[address] = (name, size, {"definite"}, usable)
            live[address] = ("definite", usable)


def compare_all(truth, live, path):
    """The core tells the truth, and what it tells is what the live process told."""
    run = harness.leaks(path)
    found = harness.listed(run)
    harness.compare(truth, found)
    check(found == live, "core and live process differ: %s"
          % sorted((hex(a), live.get(a), found.get(a)) for a in set(live) | set(found)
                   if live.get(a) != found.get(a))[:10])
    os.unlink(path)


@cases(*FIXTURES)
def from_gcore(case):
    target = harness.start(*case)
    live = harness.listed(harness.leaks(target))
    path = gcore(target)
    if case[0] == "roots_regs":
        forget_what_gdb_lost(target.truth, live, path)
    compare_all(target.truth, live, path)
    target.check_unharmed()


@cases(*FIXTURES)
def from_kernel(case):
    if kernel_core_pattern() is None:
        # somebody else collects cores here and that is not ours to change: gcore must do
        from_one_gcore()
        print("# the kernel's cores go elsewhere (core_pattern): gcore's only")
        return
    target, directory = start_with_cores(case)
    live = harness.listed(harness.leaks(target))
    compare_all(target.truth, live, kernel_core(target, directory))


def from_one_gcore():
    target = harness.start("direct")
    os.unlink(gcore(target))


@test
def huge_sparse_core():
    """A core of four gibibytes that are not there takes neither their time nor their memory."""
    if kernel_core_pattern() is None:
        from_one_gcore()
        return
    target, directory = start_with_cores(("huge",))
    live = harness.listed(harness.leaks(target))
    compare_all(target.truth, live, kernel_core(target, directory))


@test
def executable_elsewhere():
    """The core's program was moved: --exe finds it."""
    path = os.path.join(harness.scratch(), "moving")
    with open(harness.fixture("direct"), "rb") as source, open(path, "wb") as copy:
        copy.write(source.read())
    os.chmod(path, 0o755)
    target = harness.Target([path])
    core = gcore(target)
    target.stop()
    os.rename(path, path + "-away")
    harness.compare(target.truth, harness.listed(harness.leaks(core, "--exe", path + "-away")))


@cases(0, 63, 64, 1000, 0.01, 0.1, 0.3, 0.5, 0.9, 0.999)
def truncated(part):
    """A core that was cut short: the report says so, or there is none; never a crash."""
    original = kept_core("arenas", 6, 0)
    path = original + "-truncated"
    shutil.copy(original, path)
    size = os.path.getsize(path)
    os.truncate(path, int(size * part) if isinstance(part, float) else part)
    run = harness.memscope("leaks", "-j", path, timeout=20)
    check(run.status in (3, 4), "exit status %d\n%s" % (run.status, run))
    said = run.err.strip() or (run.json and run.json["warnings"])
    check(said, "nothing says what is wrong")
    check(len(run.err.splitlines()) <= 6, "not a clear line:\n" + run.err[:2000])


@cases(*range(24))
def damaged(seed):
    """Bytes of the headers and notes changed at random: no crash, no endless loop."""
    generator = random.Random(seed)
    original = kept_core("direct")
    path = original + "-damaged"
    shutil.copy(original, path)
    with open(path, "r+b") as core:
        for _ in range(30):
            core.seek(generator.randrange(0, 12000))
            core.write(bytes([generator.choice((0, 1, 127, 128, 255, generator.randrange(256)))]))
    harness.memscope("leaks", "-j", path, expect=(0, 1, 3, 4), timeout=20)
    os.unlink(path)


if __name__ == "__main__":
    sys.exit(harness.main())
