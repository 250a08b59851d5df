# go_tui.py - the browser on programs in Go: goroutines, what the collector will take, what C has lost.
"""
The oracle is the program: how many goroutines it has started of which function, the line that each
waits in, and the address of what it holds.
"""

import re
import sys

import golang
import harness
from harness import Target, cases, check, check_equal, test
from tui import Browser, position, report, selected_text

VERSIONS = sorted({golang.versions()[0], golang.versions()[-1]})
GROUPS = {"main.worker": 7, "main.locker": 3, "main.sleeper": 2}


def start(version=None):
    """The fixture, and the addresses of the sessions, each of which one worker holds."""
    target = Target([golang.go_program("browse", version)])
    return target, {int(words.split()[0], 16) for words in target.truth.notes["session"]}


def top(browser):
    return [row for row in browser.rows() if row["depth"] == 0]


def open_workers(browser):
    screen = browser.view(8)
    check("main.worker" in selected_text(screen), "the largest group is not the first:\n%s" % screen)
    return browser.press("Enter")


def select(browser, pattern):
    """Goes down to the row that PATTERN matches."""
    while not re.search(pattern, selected_text(browser.screen())):
        before = position(browser.screen())
        check(position(browser.press("Down")) != before, "no %s in\n%s" % (pattern, browser.screen()))


def held_by(browser, member):
    """Addresses of the blocks below a goroutine, which is opened for it."""
    select(browser, member + r"\b")
    browser.press("Enter")
    found = [row["goroutines"] for row in browser.rows() if row["depth"] == 2]
    browser.press("Enter")
    check(found and all(text.startswith("0x") for text in found), "%s holds %s" % (member, found))
    return {int(text.split()[0], 16) for text in found}


@cases(*VERSIONS)
def groups(version):
    """Groups by count with state, wait reason and creator."""
    target, _ = start(version)
    with Browser(target, size=(140, 40)) as browser:
        screen, rows = browser.view(8), top(browser)
        check("%s goroutines in " % target.truth.note("goroutines") in screen, "no verdict:\n%s" % screen)
        counts = {row["goroutines"]: row["count"] for row in rows}
        check_equal({name: counts.get(name) for name in GROUPS}, GROUPS, "groups")
        check_equal(sum(counts.values()), int(target.truth.note("goroutines")), "goroutines in all groups")
        check_equal([row["count"] for row in rows], sorted(counts.values(), reverse=True), "their order")
        said = {row["goroutines"]: (row["state"], row["waits for"], row["created by"]) for row in rows}
        check_equal(said["main.worker"], ("waiting", "chan receive", "main.run"), "the workers")
        check_equal(said["main.sleeper"], ("waiting", "sleep", "main.run"), "the sleepers")
    target.check_unharmed()


@cases(*VERSIONS)
def opening(version):
    """A group opens to its stack and its goroutines, each to the blocks that it holds, and these lead on."""
    target, sessions = start(version)
    line = target.truth.notes["session"][0].split()[2]
    with Browser(target, size=(140, 60)) as browser:
        open_workers(browser)
        below = [row["goroutines"] for row in browser.rows() if row["depth"] == 1]
        check(any(re.fullmatch(r"#\d+ main\.worker  .*/browse/main\.go:%s" % line, text) for text in below),
              "no frame in line %s: %s" % (line, below))
        check(any(re.fullmatch(r"created by main\.run  .*/main\.go:\d+", text) for text in below), "no creator")
        members = [text for text in below if re.match(r"goroutine \d+", text)]
        check_equal(len(set(members)), GROUPS["main.worker"], "goroutines of the group")
        held = [held_by(browser, member) & sessions for member in members]
        check_equal([len(each) for each in held], [1] * len(members), "sessions that each holds")
        check_equal(set.union(*held), sessions, "sessions that are held")
        browser.press("Enter")
        select(browser, "0x%x\\b" % held[-1].pop())
        address = re.search("0x[0-9a-f]+", selected_text(browser.screen())).group()
        screen = browser.press("Enter")
        check("%s: reachable" % address in screen and "main.worker" in screen, "the block:\n%s" % screen)
        check("slots of " in screen, "no span:\n%s" % screen)
        check(address in selected_text(browser.press("BSpace")), "back is not where one was")


@test
def growth():
    """A new snapshot marks the group that has grown, by how many."""
    target, _ = start()
    with Browser(target, size=(140, 40)) as browser:
        browser.view(8)
        said = target.ask("more")
        while not said.startswith("more"):
            said = target.process.stdout.readline().decode().strip()
        browser.send("r")
        browser.wait("new snapshot; ")
        browser.settle(0.3)
        rows = {row["goroutines"]: row for row in top(browser)}
        check_equal((rows["main.worker"]["count"], rows["main.worker"]["grew"]), (11, 4), "workers, and how many more")
        check_equal(sum(row["count"] for row in rows.values()), int(said.split()[1]), "goroutines")
        check("+4 since the snapshot before" in browser.settle(), "no sum:\n%s" % browser.screen())
    target.check_unharmed()


@test
def exporting():
    """The text has what the screen has, opened groups too."""
    target, _ = start()
    with Browser(target, size=(140, 40)) as browser:
        open_workers(browser)
        text = browser.export("goroutines.txt")
        for row in browser.rows():
            check(row["goroutines"] in text, "no %s in the text:\n%s" % (row["goroutines"], text))
        check(re.search(r"main\.locker\s+3", text), "no count:\n%s" % text)


@test
def collector():
    """What nothing reaches is no leak: the collector will take it."""
    target, _ = start()
    with Browser(target, size=(140, 50)) as browser:
        screen = browser.view(1)
        taken = re.search(r"nothing to leak: .* the collector will take ([\d.]+) KiB", str(screen))
        check(taken, "no verdict:\n%s" % screen)
        garbage = 40 * 20000 / 1024
        check(garbage <= float(taken.group(1)) < 1.2 * garbage, "the garbage is %s" % taken.group())
        check("GOGC=off" in screen, "no word of the collector:\n%s" % screen)
        ours = {row["resident memory"] for row in browser.rows()}
        check("Go: live objects" in ours and "Go: unreachable, not collected yet" in ours, "rows: %s" % ours)
        browser.send("2")
        browser.wait("no leaks: nothing is lost")
        browser.view(3)
        types = {row["type"]: row["blocks"] for row in browser.rows()}
        check(types.get("main.session", 0) >= 100, "no sessions among the types: %s" % types)
        check("unreachable" in browser.view(5), "arenas:\n%s" % browser.screen())


@test
def lost_by_c():
    """In a Go program with C, blocks of malloc are lost by its rules, and lead to themselves."""
    target = Target([golang.go_program("cleak", cgo=True)])
    blocks, size = map(int, target.truth.note("lost").split())
    with Browser(target, size=(140, 40)) as browser:
        screen = browser.view(2)
        check("malloc (cgo): lost: " in screen and "nothing to leak" in screen, "verdicts:\n%s" % screen)
        rows = browser.rows()
        check_equal([(row["blocks"], row["lost"]) for row in rows], [(blocks, "definite")], "groups")
        check(blocks * size <= rows[0]["bytes"] < blocks * (size + 32), "bytes: %s" % rows)
        browser.press("Enter")
        address = re.search("0x[0-9a-f]+", selected_text(browser.press("Down"))).group()
        screen = browser.press("Enter")
        check("%s: definitely lost" % address in screen, "the block:\n%s" % screen)
        check_equal(report("leaks", target)["groups"][0]["blocks"], blocks, "what leaks says")


@cases(VERSIONS[-1])
def kept(version):
    """Above what retains most stands what timers keep."""
    target = Target([golang.go_program("suspects", version), "timers"])
    with Browser(target, size=(140, 40)) as browser:
        screen = browser.view(4)
        wanted = "%s timers (time.AfterFunc of main.(*session).expire) keep" % format(int(target.truth.note("count")), ",")
        check(wanted in screen, "no %s in\n%s" % (wanted, screen))


if __name__ == "__main__":
    sys.exit(harness.main())
