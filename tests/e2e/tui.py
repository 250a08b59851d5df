# tui.py - the browser, driven by keys in a terminal; its screens against what the one-shot reports say.
import json
import os
import re
import signal
import subprocess
import sys
import time
import unicodedata

import harness
import terminal
from harness import cases, check, check_equal, test
from terminal import Terminal, columns_of

SLOW = os.environ.get("SANITIZERS") == "yes"


class Browser(Terminal):
    """`memscope attach` on a target; with `done` it is waited for until nothing goes on any more."""

    def __init__(self, target, *options, done=True, **more):
        super().__init__([harness.MEMSCOPE, "attach", *options, getattr(target, "pid", target)], **more)
        if done:
            self.wait_done()


# Once: what all tests of a program share

_shared = []


def report(command, target, *options):
    return harness.memscope(command, "-j", *options, getattr(target, "pid", target), expect=(0, 1)).json


def outlive(target):
    """Takes a target out of those that end with a test."""
    harness._targets.remove(target)
    return target


# Ends, however they come

@cases(("q", 0), (signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGINT, 128 + signal.SIGINT),
       (signal.SIGHUP, 128 + signal.SIGHUP), (signal.SIGSEGV, 128 + signal.SIGSEGV))
def restored(case):
    """The terminal is as it was after the end that was wished for and after the others; the target lives."""
    how, status = case
    target = harness.start("browse")
    with Browser(target) as browser:
        check_equal(browser.tmux("display-message -p '#{alternate_on}'"), ["1"], "alternate screen")
        if how == "q":
            browser.send("q")
        else:
            os.kill(browser.pid(), how)
        check_equal(browser.ended(10), status, "exit status")
        browser.check_restored()
    target.check_unharmed()


@test
def interrupted_by_key():
    """Control-C is as good as q, but says in its status that it was none."""
    target = harness.start("browse")
    with Browser(target) as browser:
        browser.send("C-c")
        check_equal(browser.ended(10), 128 + signal.SIGINT, "exit status")
        browser.check_restored()
    target.check_unharmed()


@cases("key", "kill")
def suspended(how):
    """SIGTSTP gives the terminal back, fg takes it again and draws all of it."""
    target = harness.start("browse")
    after = ("stty -g >between; echo stopped by $status; while [ ! -e on ]; do sleep 0.02; done; "
             "fg >/dev/null; status=$?")
    with Browser(target, prefix="set -m", after=after) as browser:
        before = browser.settle()
        if how == "key":
            browser.send("C-z")
        else:
            os.kill(browser.pid(), signal.SIGTSTP)
        browser.wait("stopped by %d" % (128 + signal.SIGTSTP))
        check_equal(browser.tmux("display-message -p '#{alternate_on} #{cursor_flag} #{mouse_any_flag}'"),
                    ["0 1 0"], "alternate screen, cursor, mouse")
        check_equal(browser._read("between"), browser._read("before"), "stty")
        open(os.path.join(browser.directory, "on"), "w").close()
        browser.wait(lambda screen: screen.lines == before.lines, "the screen as it was")
        browser.send("q")
        check_equal(browser.ended(10), 0, "exit status")
        browser.check_restored()


@cases({"TERM": "dumb"}, {"TERM": "no-such-terminal"}, {"TERM": None})
def no_such_terminal(environment):
    """A terminal that one cannot browse on: a usage error, and the way out."""
    target = harness.start("direct")
    with Browser(target, done=False, environment=environment) as browser:
        check_equal(browser.ended(10), 2, "exit status")
        check("memscope leaks" in browser.screen(), "no other way is named:\n%s" % browser.screen())
        check(b"\x1b" not in browser.recorded(), "sequences: %r" % browser.recorded())


@test
def no_terminal():
    """Neither as input nor as output."""
    target = harness.start("direct")
    run = harness.memscope("attach", target.pid, expect=2, environment={"TERM": "xterm"})
    check("memscope leaks" in run.err and run.out == "", "said:\n%s" % run)
    with Terminal(["sh", "-c", "'%s' attach %d | cat" % (harness.MEMSCOPE, target.pid)]) as piped:
        piped.ended(10)
        check("memscope leaks" in piped.screen(), "said:\n%s" % piped.screen())


@test
def no_such_target():
    """Exit status 3 and why, as the other commands have it, on a terminal that is as before."""
    with Browser(2 ** 22 + 1, done=False) as browser:
        check_equal(browser.ended(10), 3, "exit status")
        check(re.search(r"memscope: .*\b%d\b" % (2 ** 22 + 1), str(browser.screen())),
              "said:\n%s" % browser.screen())
        browser.check_restored()


if __name__ == "__main__":
    sys.exit(harness.main())
