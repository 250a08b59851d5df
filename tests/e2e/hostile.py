# hostile.py - names and contents that would harm a terminal or a parser come out harmless.
import json
import os
import shutil
import subprocess
import sys
import unicodedata

import harness
from harness import cases, check, test

NAMES = [b"plain", b"with space", b"esc\x1b[31mred", b"new\nline", b"\xff\xfe not utf-8",
         b"quote\"back\\slash", b"tab\ttab", b"(deleted)", b"name (deleted)", "r\u00e9".encode(),
         b"x" * 200, b") R 1 2", b"%s%n"]


def check_harmless(text, what):
    """Valid UTF-8 without control characters, nor such as reorder or hide text."""
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        raise harness.Failure("%s is not UTF-8: %s" % (what, error))
    for number, line in enumerate(decoded.split("\n")):
        bad = [c for c in line if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
        check(not bad, "%s, line %d has %r: %r" % (what, number + 1, bad[:3], line[:200]))


def outputs(*arguments):
    done = subprocess.run([harness.MEMSCOPE] + [str(a) for a in arguments],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=harness.TIMEOUT,
                          env=dict(os.environ, LC_ALL="C.UTF-8"))
    check(done.returncode in (0, 1, 3, 4), "exit status %d" % done.returncode)
    return done.stdout, done.stderr


@test
def contents():
    """Previews of lost text are shown, and escaped."""
    target = harness.start("texts")
    for arguments in (("leaks",), ("leaks", "--list"), ("leaks", "-v"), ("memstats",)):
        for text in outputs(*arguments, target.pid):
            check_harmless(text, " ".join(arguments))
    out, _ = outputs("leaks", target.pid)
    check(b"a plain text that somebody forgot" in out, "no preview of a plain text")
    report, _ = outputs("leaks", "-j", target.pid)
    check_harmless(report, "the JSON")
    previews = [g.get("preview") for g in json.loads(report)["leaks"]["groups"]]
    check(any(p and p.startswith("a plain text") for p in previews), "no preview: %s" % previews)
    harness.compare(target.truth, harness.listed(harness.leaks(target)))


@cases(*NAMES)
def program_named(name):
    """An executable with an awkward name, still there and deleted."""
    directory = os.path.join(harness.scratch().encode(), b"names")
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, name)
    shutil.copy(harness.fixture("direct").encode(), path)
    target = harness.Target([path])
    for deleted in (False, True):
        for arguments in (("leaks",), ("leaks", "-j"), ("memstats",), ("memstats", "-j")):
            out, err = outputs(*arguments, target.pid)
            check_harmless(out, " ".join(arguments))
            check_harmless(err, "stderr of " + " ".join(arguments))
            if "-j" in arguments:
                json.loads(out)
        harness.compare(target.truth, harness.listed(harness.leaks(target)))
        if not deleted:
            os.unlink(path)


@cases(*NAMES)
def target_named(name):
    """A core that is none, with an awkward name: the message is harmless."""
    path = os.path.join(harness.scratch().encode(), b"no-core-" + name)
    with open(path, "wb") as file:
        file.write(b"nothing")
    done = subprocess.run([harness.MEMSCOPE.encode(), b"leaks", path], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=harness.TIMEOUT)
    check(done.returncode == 3, "exit status %d" % done.returncode)
    check_harmless(done.stderr, "the message")


@test
def suppressions():
    """Blocks of a class are left out by its name or its module; the others stay."""
    target = harness.start("cxx", "leaky")
    everything = harness.leaks(target).json["leaks"]
    path = os.path.join(harness.scratch(), "suppressions")
    with open(path, "w") as file:
        file.write("# a comment\nleak:no such thing\n")
    same = harness.leaks(target, "--suppressions", path).json["leaks"]
    check(same["definite"] == everything["definite"], "a pattern of nothing leaves something out")
    with open(path, "w") as file:
        file.write("leak:cxx\n")
    fewer = harness.leaks(target, "--suppressions", path).json["leaks"]
    check(fewer["suppressed"]["blocks"] >= 1, "nothing is suppressed")
    check(fewer["definite"]["blocks"] == everything["definite"]["blocks"]
          - sum(g["blocks"] for g in everything["groups"]
                if g["kind"] == "definite" and "cxx" in str(g.get("module"))),
          "other blocks are suppressed than those of the module")


@test
def a_wrong_suppressions_file():
    target = harness.start("direct")
    path = os.path.join(harness.scratch(), "suppressions-wrong")
    with open(path, "wb") as file:
        file.write(b"\x1b[31m\xff\n")
    done = subprocess.run([harness.MEMSCOPE, "leaks", "--suppressions", path, str(target.pid)],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    check(done.returncode == 2, "exit status %d" % done.returncode)
    check_harmless(done.stderr, "the message")


if __name__ == "__main__":
    sys.exit(harness.main())
