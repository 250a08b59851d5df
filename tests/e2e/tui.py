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


VIEWS = ["Overview", "Leaks", "Types", "Retainers", "Arenas", "Map", "Threads"]
TABS = VIEWS + ["Goroutines"]  # go_tui.py: only programs in Go have some


class Browser(Terminal):
    """`memscope attach` on a target; with `done` it is waited for until nothing goes on any more."""

    def __init__(self, target, *options, done=True, **more):
        super().__init__([harness.MEMSCOPE, "attach", *options, getattr(target, "pid", target)], **more)
        if done:
            self.wait_done()

    def wait_done(self, seconds=None):
        """Until the status line has a position and nothing that goes on."""
        while True:  # between two stages nothing is said either
            self.wait(lambda screen: re.fullmatch(POSITION, status_of(screen)), "the end of all work", seconds)
            screen = self.settle(0.3)
            if re.fullmatch(POSITION, status_of(screen)):
                return screen

    def view(self, number):
        """Goes to a view by its number, with nothing filtered and its first row selected."""
        self.send("Escape")
        time.sleep(0.06)  # longer than escape waits for what may follow it
        self.send(str(number))
        self.send("Home")
        name = "%d %s" % (number, TABS[number - 1])
        self.wait(lambda s: position(s) and position(s)[0] <= 2 and tab(s) == name, "the view " + name)
        return self.settle()

    def press(self, *keys):
        """Sends keys; the screen when it has come to rest."""
        self.send(*keys)
        return self.settle()

    def answer(self, key, text):
        """A key that asks, and what is typed then in place of what is there."""
        self.send(key)
        self.wait("^UClear")
        self.send("C-u")
        self.type(text)
        return self.press("Enter")

    def export(self, name):
        path = os.path.join(self.directory, name)
        self.answer("e", path)
        self.wait("exported to")
        with open(path) as file:
            return file.read()

    def rows(self):
        """The shown rows as the export to JSON has them."""
        self._exports = getattr(self, "_exports", 0) + 1
        return json.loads(self.export("export%d.json" % self._exports))["rows"]


POSITION = r"\s*([\d,]+)/([\d,]+)( top| end| \d+%)?"


def tab(screen):
    """The tab that is marked."""
    return "".join(c for c, style in zip(screen.lines[1], screen.styles[1]) if "48:5:74" in style).strip()


def status_of(screen):
    return screen.lines[-2] if len(screen.lines) > 2 else ""


def position(screen):
    """(the selected row, how many there are), or None."""
    found = re.search(POSITION + "$", status_of(screen))
    return tuple(int(n.replace(",", "")) for n in found.groups()[:2]) if found else None


def selected(screen):
    """The line of the selected row: the one in reverse from end to end between the tabs and the status."""
    lines = [n for n in range(2, len(screen.lines) - 2) if screen.reversed(n) == screen.width]
    check(len(lines) == 1, "%d lines are selected:\n%s" % (len(lines), screen))
    return lines[0]


def selected_text(screen):
    return screen.lines[selected(screen)].strip()


def report(command, target, *options):
    return harness.memscope(command, "-j", *options, getattr(target, "pid", target), expect=(0, 1)).json[command]


# One browser for all tests that leave it as it was

_shared = {}


def shared(size=(120, 40)):
    """(target, browser) that many tests use, one after another."""
    browser = _shared.get("browser")
    if browser is None or os.path.exists(os.path.join(browser.directory, "status")):
        target = harness.start("browse")
        harness._targets.remove(target)  # those end with each test
        browser = Browser(target, size=size)
        _shared.update(browser=browser, target=target)
    if browser.size != size:
        browser.resize(*size)
    browser.send("Escape")
    time.sleep(0.06)
    browser.press("Escape")
    return _shared["target"], browser


# Opening

@test
def opening():
    """Stages and how far they are from the first moment on, the verdict while others still work, never a blank."""
    target = harness.start("bigheap", 300000 if SLOW else 1000000)
    seen, started = [], time.monotonic()
    with Browser(target, done=False) as browser:
        browser.wait("memscope  ")
        screen = browser.screen()
        quiet = started  # since when nothing goes on; for a moment that is so between two stages too
        while time.monotonic() < quiet + 0.3:
            if not re.fullmatch(POSITION, status_of(screen)):
                quiet = time.monotonic()
            check(time.monotonic() - started < harness.TIMEOUT, "it never ends:\n%s" % screen)
            if not seen or screen.lines != seen[-1].lines:
                seen.append(screen)
            time.sleep(0.002)
            screen = browser.screen()
        blank = [s for s in seen if not s.lines[0].strip() or not any(line.strip() for line in s.lines[2:])]
        check(not blank, "%d of %d screens are blank" % (len(blank), len(seen)))
        check(b"copying" in browser.recorded(), "copying was not shown:\n%s" % seen[0])  # it may be over by now
        verdict = [s for s in seen if re.search(r"lost: .*iB, .*%", str(s))]
        check(verdict, "the verdict came last of all")
        check(any("…" in status_of(s) for s in verdict), "nothing goes on behind the verdict")
        check(re.search(r"running again, stopped for \d", screen.lines[0]), "no pause in the header: " + screen.lines[0])
        target.check_unharmed()


# Views and their facts

@test
def views_by_number_and_tab():
    """Each number and Tab lead to the views in their order, Shift-Tab back; the bar says where one is."""
    _, browser = shared()
    for turn, name in enumerate(VIEWS):
        screen = browser.view(turn + 1)
        check(position(screen)[1] > 0, "%s is empty:\n%s" % (name, screen))
    browser.view(1)
    names = ["%d %s" % pair for pair in enumerate(TABS, 1)]
    check_equal([tab(browser.press("Tab")) for _ in TABS], names[1:] + names[:1], "where Tab leads")
    check_equal([tab(browser.press("BTab")) for _ in TABS], names[::-1], "where Shift-Tab leads")
    screen = browser.press("8")
    check_equal(tab(screen), "8 Goroutines", "where 8 leads")
    check("no goroutines: this is no Go program" in screen, "it does not say why it is empty:\n%s" % screen)


@test
def overview():
    """The account of Rss has the figures of memstats."""
    target, browser = shared()
    screen, stats = browser.view(1), report("memstats", target)
    rows = browser.rows()
    verdict = report("leaks", target)["definite"]
    check("%d blocks" % verdict["blocks"] in screen, "no verdict:\n%s" % screen)
    live = [r for r in rows if "live, reachable" in str(r)]
    check_equal(len(live), 1, "rows of live memory")
    sizes = {row["bytes"] for row in stats["rows"]} if "rows" in stats else None
    check(sizes is None or live[0]["size"] in sizes, "live memory is %s, in memstats %s" % (live, sizes))


@test
def leak_groups():
    """Groups, leaders and what these hold are the fixture's, by number, size and address."""
    target, browser = shared()
    browser.view(2)
    rows, groups = browser.rows(), report("leaks", target)["groups"]
    ours = sorted((r["blocks"], r["bytes"], r["lost"]) for r in rows if r["lost"] == "definite")
    check_equal(ours, sorted((g["blocks"], g["bytes"], g["kind"]) for g in groups), "groups")
    line = browser.screen().find("200 bytes each")
    while selected(browser.screen()) != line:
        browser.press("Down")
    browser.press("Enter")
    leaders = {int(r["what is lost"].split()[0], 16) for r in browser.rows() if r["depth"] == 1}
    boxes = {a for a, b in target.truth.blocks.items() if b[0].startswith("box.")}
    check_equal(leaders, boxes, "leaders")
    first = int(re.search("0x[0-9a-f]+", selected_text(browser.press("Down"))).group(), 16)
    browser.press("Space")
    below = [r for r in browser.rows() if r["depth"] == 2]
    check_equal(len(below), 1, "blocks below a leader")
    inside = int(below[0]["what is lost"].split()[0], 16)
    check_equal(target.truth.blocks[inside][0].split(".")[1], target.truth.blocks[first][0].split(".")[1], "the pair")
    browser.press("Space")
    browser.press("Up")
    check_equal(len([r for r in browser.rows() if r["depth"]]), 40, "rows below")
    browser.press("Enter")
    check_equal(len(browser.rows()), len(rows), "rows when all is closed")


@test
def type_groups():
    """The histogram is that of heap: blocks, bytes and what is retained, by type."""
    target, browser = shared()
    browser.view(3)
    ours = sorted((r["blocks"], r["bytes"], r["retained"]) for r in browser.rows())
    theirs = sorted((g["blocks"], g["bytes"], g["retained_bytes"]) for g in report("heap", target)["groups"])
    check_equal(ours, theirs, "groups")
    check(any("struct book" in r["type"] and r["blocks"] == 375 for r in browser.rows()), "no books")


@test
def threads_and_locals():
    """A thread opens to frames, these to locals, these lead to their block; back is where one was."""
    target, browser = shared()
    screen = browser.view(7)
    while " reader" not in selected_text(browser.screen()):
        browser.press("Down")
    browser.press("Right")
    screen = browser.settle()
    check(position(screen)[1] > 2, "no frames:\n%s" % screen)
    browser.answer("/", "reading")
    screen = browser.settle()
    check("reading" in screen, "no local:\n%s" % screen)


# Moving

@test
def moving():
    """Arrows, vi keys, pages, ends: the position is where a list of that length has it."""
    _, browser = shared(size=(80, 24))
    browser.view(2)
    count = position(browser.press("Enter"))[1]
    check(count > 40, "too few rows: %d" % count)
    page = 19 - 1
    at = 1
    for key, expected in (("Down", 2), ("j", 3), ("Up", 2), ("k", 1), ("Up", 1), ("End", count), ("Down", count),
                          ("Home", 1), ("G", count), ("Home", 1)):
        screen = browser.press(key)
        check_equal(position(screen), (expected, count), "%s from %d" % (key, at))
        selected(screen)
        at = expected
    for down, up in (("NPage", "PPage"), ("C-f", "C-b")):
        first = position(browser.press(down))[0]
        check(page - 3 <= first <= page + 2, "%s leads to %d" % (down, first))
        second = position(browser.press(down))[0]
        check(second > first, "%s leads from %d to %d" % (down, first, second))
        check_equal(position(browser.press(up))[0], first, up)
        browser.press("Home")
    check_equal(position(browser.press("Enter"))[1], 4, "rows when it is closed")


@test
def back_and_forth():
    """Enter leads to a block, Backspace and Left back to the same row on the same line; through several, too."""
    target, browser = shared()
    browser.view(2)
    browser.press("Enter")
    for key in ("BSpace", "Left", "h"):
        before = browser.press("Down", "Down", "Down")
        address = int(re.search("0x[0-9a-f]+", selected_text(before)).group(), 16)
        check(address in target.truth.blocks, "%#x is no block" % address)
        browser.send("Enter")
        block = browser.wait("%#x: " % address)
        check("Block" in block.lines[1] and "definitely lost" in block, "not the block:\n%s" % block)
        browser.settle()
        after = browser.press(key)
        check_equal((after.lines, selected(after)), (before.lines, selected(before)), "the view after " + key)
    browser.press("Home")
    browser.press("Enter")


@test
def going_to_addresses():
    """g: a block's start or middle, what path says of it; nonsense is refused."""
    target, browser = shared()
    browser.view(3)
    for name in ("book.3", "inside.7"):
        address = next(a for a, b in target.truth.blocks.items() if b[0] == name)
        screen = browser.answer("g", "%#x" % (address + 8))
        kind = {"reachable": "reachable", "indirect": "indirectly lost"}[min(target.truth.blocks[address][2])]
        check("%#x" % address in screen and kind in screen, "not at %s:\n%s" % (name, screen))
    browser.answer("g", "0x%x" % next(a for a, b in target.truth.blocks.items() if b[0] == "book.3"))
    for member in ("next", "title", "pages", "price"):
        check(member in browser.screen(), "no member %s:\n%s" % (member, browser.screen()))
    check("no address" in browser.answer("g", "nonsense"), "nonsense is taken")


# Searching, filtering, sorting

@test
def searching():
    """/ goes to the next row with the text, n on and N back, around the end; what is not there is said."""
    _, browser = shared()
    browser.view(1)
    texts = [json.dumps(row) for row in browser.rows()]
    hits = [n for n, text in enumerate(texts, 1) if "heap:" in text]
    check(len(hits) >= 3, "too few rows to look for")
    at = position(browser.press("Home"))[0]
    order = [h for h in hits if h > at] + [h for h in hits if h <= at]
    places = [position(browser.answer("/", "HEAP:"))[0]] + [position(browser.press("n"))[0] for _ in order]
    check_equal(places, order + order[:1], "places of n")
    check_equal(position(browser.press("N"))[0], order[-1], "place of N")
    check("not found" in browser.answer("/", "no such text"), "nothing is said")


@test
def filtering():
    """f and \\ leave the rows that hold the text; without it all are back, and the same one is selected."""
    _, browser = shared()
    browser.view(3)
    all_rows = browser.rows()
    for key in ("f", "\\"):
        browser.answer("/", "struct book")
        before = selected_text(browser.screen())
        screen = browser.answer(key, "STRUCT")
        some = [r for r in all_rows if "struct" in r["type"]]
        check_equal(position(screen)[1], len(some), "rows with struct")
        check_equal(browser.rows(), some, "the rows")
        screen = browser.press("Escape")
        check_equal(position(screen)[1], len(all_rows), "all rows")
        check_equal(selected_text(screen), before, "the selected row")
    check("nothing matches" in browser.answer("f", "no such text"), "nothing is said")
    browser.press("Escape")


def chosen_column(screen):
    return re.search("sort by: (.*?)  ", status_of(screen) + "  ").group(1)


@cases(2, 3, 6)
def sorting(view):
    """By each column that s offers, the big first of figures, and reversed by I; the rows are the same."""
    _, browser = shared(size=(200, 50))
    browser.view(view)
    rows = browser.rows()
    columns = []
    browser.send("s")
    while True:
        column = chosen_column(browser.wait("sort by:"))
        if column in columns:
            break
        columns.append(column)
        browser.press("Tab")
    browser.press("Escape")
    check(len(columns) >= 4, "columns to sort by: %s" % columns)
    for column in columns:
        browser.send("s")
        while chosen_column(browser.wait("sort by:")) != column:
            browser.press("Tab")
        browser.press("Enter")
        for turn in range(2):
            ours = browser.rows()
            key = [k for k in ours[0] if k == column][0]
            values = [r[key] for r in ours]
            check_equal(sorted(map(json.dumps, ours)), sorted(map(json.dumps, rows)), "rows by " + column)
            if all(isinstance(v, str) for v in values):
                values = [v.lower() for v in values]
            if all(isinstance(v, (int, float)) for v in values) or all(isinstance(v, str) for v in values):
                down = values[0] > values[-1] if values[0] != values[-1] else values == sorted(values, reverse=True)
                check_equal(values, sorted(values, reverse=down), "order by %s" % column)
                if turn == 0:
                    first = values
                else:
                    check_equal(values, sorted(first, reverse=first == sorted(first)) if len(set(first)) > 1 else first,
                                "the other way by %s" % column)
            browser.press("I")


# Export and copy

@test
def exporting():
    """Text has what the screen has; an existing file is left alone; JSON is JSON."""
    _, browser = shared(size=(200, 50))
    screen = browser.view(3)
    text = browser.export("types.txt")
    for row in browser.rows():
        check(row["type"] in text, "no %s in the text:\n%s" % (row["type"], text))
    words = [line.split() for line in screen.lines[4:-2] if line.strip()]
    exported = [line.split() for line in text.splitlines()[-len(words):]]
    check_equal([w[:2] for w in words], [w[:2] for w in exported], "figures of the rows")
    path = os.path.join(browser.directory, "types.txt")
    check("cannot write" in browser.answer("e", path), "it is written over")
    check_equal(open(path).read(), text, "the file")


@test
def copying():
    """y gives the terminal the address of the row by OSC 52."""
    target, browser = shared()
    browser.view(2)
    browser.press("Enter")
    screen = browser.press("Down")
    address = re.search("0x[0-9a-f]+", selected_text(screen)).group()
    browser.send("y")
    browser.wait("copied " + address)
    check_equal(browser.tmux("show-buffer"), [address], "the clipboard")
    browser.press("Home")
    browser.press("Enter")


# The mouse

@test
def mouse():
    """A click selects, a second one follows, the wheel moves, a title sorts, a tab and the bar do as their keys."""
    _, browser = shared(size=(100, 24))
    screen = browser.view(2)
    line = selected(screen)
    browser.mouse(0, 5, line + 2)
    check_equal(selected(browser.settle()), line + 2, "the line that was clicked")
    browser.mouse(65, 5, line)
    check(position(browser.settle())[0] >= 3, "the wheel does nothing")
    browser.mouse(64, 5, line)
    browser.settle()
    screen = browser.view(2)
    browser.mouse(0, screen.lines[line - 1].index("blocks") + 1, line - 1)
    screen = browser.settle()
    check(re.search("blocks[▼▲]", screen.lines[line - 1]), "not sorted: " + screen.lines[line - 1])
    before = screen.lines[line - 1]
    browser.mouse(0, before.index("blocks") + 1, line - 1)
    check(browser.settle().lines[line - 1] != before, "not reversed: " + before)
    browser.mouse(0, browser.screen().lines[1].index("Arenas"), 1)
    browser.wait("glibc 2.")
    browser.mouse(0, browser.screen().lines[-1].index("Help"), 23)
    browser.wait("this help")
    browser.press("BSpace")


# Help

NAMES = {"Up": "Up", "Down": "Down", "PgUp": "PPage", "PgDn": "NPage", "Home": "Home", "End": "End", "Enter": "Enter",
         "Right": "Right", "Left": "Left", "Space": "Space", "Backspace": "BSpace", "Tab": "Tab",
         "Shift-Tab": "BTab", "Esc": "Escape"}


def tmux_key(name):
    return NAMES.get(name) or ("C-" + name[1].lower() if len(name) == 2 and name[0] == "^" else name)


@test
def every_key_of_the_help():
    """The help lists the keys; each of them changes the screen, or ends the browser, or stops it."""
    _, browser = shared(size=(100, 30))
    browser.view(1)
    browser.press("?")
    keys = [name for row in browser.rows() for name in row["Key"].split()]
    check(len(keys) > 40, "few keys: %s" % keys)
    browser.press("BSpace")
    idle = []
    for key in keys:
        if key in ("mouse", "q", "F10", "^Z", "^L"):  # tests of their own; ^L draws the same again
            continue
        while position(browser.view(2))[1] > 4:  # what was opened is closed
            browser.press("-")
        if key in ("Esc",):
            browser.answer("f", "bytes")
        elif key in ("n", "N"):
            browser.answer("/", "bytes")
        elif key in ("Up", "k", "PgUp", "^B", "Home"):
            browser.press("End")
        elif key in ("y",):
            browser.press("Enter")
            browser.press("Down")
        before = browser.settle()
        browser.send(tmux_key(key))
        try:
            browser.wait(lambda s: s.lines != before.lines or s.styles != before.styles, seconds=3)
        except harness.Failure:
            idle.append(key)
        if key in ("r", "F5"):
            browser.wait("new snapshot; ")
        browser.send("Escape")  # out of a prompt
        time.sleep(0.06)
    check(not idle, "keys that do nothing: %s" % idle)


# A new snapshot

@test
def growth():
    """r shows what was lost and what was kept since, with the rows selected as before."""
    target = harness.start("browse")
    with Browser(target, size=(120, 40)) as browser:
        browser.view(2)
        before = selected_text(browser.press("Down"))
        check_equal(target.ask("lose 30 2000"), "done", "the fixture")
        check_equal(target.ask("keep 50 3000"), "done", "the fixture")
        browser.send("r")
        browser.wait("new snapshot; ")
        screen = browser.settle()
        check_equal(selected_text(screen).split()[:3], before.split()[:3], "the selected row")
        line = screen.lines[screen.find("2,000 bytes each")] if "2,000 bytes" in screen else \
            screen.lines[screen.find("2,008 bytes each")]
        check("+" in line and "30" in line, "what was lost is not marked: " + line)
        browser.view(3)
        grown = [r for r in browser.rows() if "50" == str(r["blocks"]) and r["bytes"] >= 150000]
        check(grown and any(v == r["bytes"] for r in grown for k, v in r.items() if k not in ("bytes", "retained")),
              "what was kept is not marked: %s" % grown)
        target.check_unharmed()


@test
def dying_target():
    """The header says that the process ended; all can still be read, and r says why it cannot."""
    target = harness.start("browse")
    with Browser(target, size=(120, 40)) as browser:
        before = browser.view(3)
        target.stop()
        browser.wait("process has ended")
        after = browser.settle()
        check_equal(after.lines[1:], before.lines[1:], "all but the header")
        browser.press("Enter")
        address = next(a for a, b in target.truth.blocks.items() if b[0] == "book.3")
        browser.answer("g", "%#x" % address)
        check("title" in browser.screen(), "no members:\n%s" % browser.screen())
        check("has ended" in status_of(browser.press("r")), "r says nothing")
        browser.send("q")
        check_equal(browser.ended(10), 0, "exit status")
        browser.check_restored()


@test
def core():
    """A core file has the same views; there is no new snapshot of it."""
    target = harness.start("browse")
    path = os.path.join(harness.scratch(), "core")
    subprocess.run([harness.tool("gcore"), "-o", path, str(target.pid)], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    path = "%s.%d" % (path, target.pid)
    with Browser(path, size=(120, 40)) as browser:
        check("core file" in browser.screen().lines[0], "header: " + browser.screen().lines[0])
        for number in range(1, len(VIEWS) + 1):
            check(position(browser.view(number))[1] > 0, "the view %s is empty" % VIEWS[number - 1])
        browser.view(2)
        groups = report("leaks", path)["groups"]
        check_equal(sorted((r["blocks"], r["bytes"]) for r in browser.rows() if r["lost"] == "definite"),
                    sorted((g["blocks"], g["bytes"]) for g in groups), "groups")
        check("core file" in status_of(browser.press("r")), "r says nothing")


# Terminals

@cases((40, 10), (80, 24), (200, 50))
def sizes(size):
    """Every view in that size: the selection and the ends can be seen, no line is longer than the terminal."""
    _, browser = shared(size=size)
    for number in range(1, len(VIEWS) + 1):
        screen = browser.view(number)
        for key in ("End", "Home"):
            screen = browser.press(key)
            selected(screen)
            check(position(screen)[0] in (1, 2, position(screen)[1]), "%s leads to %s" % (key, position(screen)))
        check(columns_of(screen.lines[1]) <= size[0] and len(screen.lines) == size[1], "size:\n%s" % screen)
        check(screen.lines[-1].startswith("F1Help"), "no function bar:\n%s" % screen)
    browser.view(1)


@test
def resize_storm():
    """Hundreds of sizes while keys are typed, far too small ones too; then the screen is that of its size."""
    _, browser = shared(size=(120, 40))
    browser.view(2)
    wanted = browser.press("Enter")
    for n in range(100 if SLOW else 300):
        browser.resize(1 + n * 37 % 200, 1 + n * 23 % 60)
        browser.send(*(("Down", "NPage", "4", "2", "Tab", "End", "2", "I", "2", "I")[n % 10:][:2]))
    browser.resize(120, 40)
    browser.settle()
    browser.press("2")
    browser.press("Home")
    screen = browser.settle()
    if screen.lines[3:-2] != wanted.lines[3:-2]:
        screen = browser.press("I")
    check_equal(screen.lines[3:-2], wanted.lines[3:-2], "the screen")
    browser.press("Home")
    browser.press("-")


SEQUENCES = re.compile(rb"\x1b\[[0-9;?>]*[A-Za-z]|\x1b[()][A-B0]|\x1b[=>78M]|[\r\n\t\b\x0e\x0f\x07]")
COLOURS = re.compile(rb"\x1b\[(?:[0-9;]*;)?(?:3[0-9]|4[0-9]|9[0-7]|10[0-7])(?:;[0-9;]*)?m")


@cases(("xterm-256color", {}), ("xterm", {}), ("screen", {}), ("linux", {}), ("vt100", {}),
       ("xterm-256color", {"NO_COLOR": "1"}), ("xterm-256color", {"LANG": "C"}), ("vt100", {"LANG": "C"}))
def terminals(case):
    """Each kind of terminal shows the same figures, in no more colours and characters than it has."""
    term, more = case
    target, _ = shared()
    with Browser(target, size=(100, 30), environment=dict(more, TERM=term)) as browser:
        browser.wait("heap: lost (leaked)")
        for number, text in ((2, "200 bytes each"), (3, "struct book"), (5, "glibc"), (6, "modules")):
            browser.send(str(number))
            browser.wait(text)
        screen = browser.settle()
        record = browser.recorded()
        colours = set(COLOURS.findall(record))
        deep = {c for c in colours if b"8;5;" in c}
        check_equal(bool(colours), term != "vt100" and "NO_COLOR" not in more, "are there colours")
        check_equal(bool(deep), bool(colours) and term == "xterm-256color", "are there 256 colours")
        if more.get("LANG") == "C":
            check(max(record) < 0x80, "not only ASCII: %r" % [b for b in record if b >= 0x80][:20])
        else:
            check(b"\xe2" in record, "only ASCII")
        if "NO_COLOR" in more:
            check("7" in screen.attributes(), "the selection is not to be seen")
        browser.send("q")
        check_equal(browser.ended(10), 0, "exit status")
        check_equal(browser._read("after"), browser._read("before"), "stty")


# What comes from the target

HOSTILE = b"\x1b[2J\x1b]0;x\x07\xff\n"


def hostile_target():
    """garish, with names of its types, variables and functions that no compiler would take."""
    with open(harness.fixture("garish"), "rb") as file:
        program = file.read()
    check(len(HOSTILE) == len(b"PLACEHOLDER_") and program.count(b"PLACEHOLDER_") > 5, "names to write over")
    path = os.path.join(harness.scratch(), "garish \x1b[2J")
    with open(path, "wb") as file:
        file.write(program.replace(b"PLACEHOLDER_", HOSTILE))
    os.chmod(path, 0o755)
    names = [os.path.join(harness.scratch().encode(), name)
             for name in (b"\x1b]0;injected\x07", "\u202eright\u65e5".encode(), b"\xff\x9b31m\n")]
    for name in names:
        with open(name, "wb") as file:
            file.write(bytes(4096))
    return harness.Target([path.encode()] + names)


def check_record(record):
    """Only sequences that curses makes; all else is UTF-8 that shows, in itself, as what it is."""
    rest = SEQUENCES.sub(b"", record)
    check(b"\x1b" not in rest, "foreign sequences: %r" % re.findall(rb"\x1b.{0,12}", rest)[:5])
    try:
        text = rest.decode()
    except UnicodeDecodeError as error:
        raise harness.Failure("not UTF-8: %s" % error)
    bad = [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp", "Mn", "Me")]
    check(not bad, "characters that must not be: %r" % bad[:5])


@cases({"LANG": "C.UTF-8"}, {"LANG": "C"})
def hostile(environment):
    """Text, names of threads, files, types, variables, functions: nothing reaches the terminal raw."""
    target = hostile_target()
    with Browser(target, size=(160, 50), environment=dict(environment, NO_COLOR="1")) as browser:
        title = browser.tmux("display-message -p '#{pane_title}'")
        shown = ""
        for number in range(1, len(VIEWS) + 1):
            browser.send(str(number))
            screen = browser.settle()
            for row in range(min(position(screen)[1], 8)):
                browser.send("Right")
                screen = browser.settle(0.06)
                shown += str(screen)
                if "Block" in screen.lines[1]:
                    browser.send("BSpace")
                browser.send("Down")
        for address, block in list(target.truth.blocks.items())[:12]:
            shown += str(browser.answer("g", "%#x" % address))
        shown += str(browser.answer("f", "no such"))
        for text in ("\\x1b]0;injected title", "wiped", "\\x1b[2J", "\\u202e"):
            check(text in shown, "%r was never shown" % text)
        check_equal(browser.tmux("display-message -p '#{pane_title}'"), title, "the title")
        check_equal(browser.tmux("list-buffers"), [], "the clipboard")
        record = browser.recorded()
        check(not COLOURS.findall(record), "colours of the target: %s" % COLOURS.findall(record)[:3])
        check_record(record)
        browser.send("q")
        check_equal(browser.ended(10), 0, "exit status")
    target.check_unharmed()


# Speed

def latency(browser, key):
    """Seconds from a key that moves the selection to the screen that shows it."""
    before = browser.screen()
    line = [before.reversed(n) for n in range(len(before.lines))]
    started = time.monotonic()
    browser.send(key)
    browser.wait(lambda s: [s.reversed(n) for n in range(len(s.lines))] != line, "an answer to " + key)
    return time.monotonic() - started


@test
def answers_while_it_works():
    """On a big heap keys are answered at any time; most within 0.1 s, none much later."""
    blocks = 300000 if SLOW else 2000000
    blocks = int(os.environ.get("TUI_BLOCKS", blocks))
    target = harness.start("bigheap", blocks)
    with Browser(target, done=False) as browser:
        browser.wait(lambda s: position(s) is not None, "rows to move among", 120)
        busy, quiet = [], 0
        while quiet < 10:  # between two stages nothing is said either
            quiet = 0 if "…" in status_of(browser.screen()) else quiet + 1
            busy.append(latency(browser, "Down" if len(busy) % 2 == 0 else "Up"))
            time.sleep(0.02)
        browser.wait_done(120)
        browser.send("2")
        browser.settle()
        idle = [latency(browser, key) for key in ["Down", "Up"] * 10]
        opened = time.monotonic()
        browser.send("3")
        browser.wait(lambda s: position(s) and tab(s) == "3 Types", "the types", 120)
        opened = time.monotonic() - opened
        rank = sorted(busy)
        print("# %d blocks: %d keys while it worked, median %.0f ms, most %.0f ms; idle %.0f ms; types %.0f ms"
              % (blocks, len(busy), 1e3 * rank[len(rank) // 2], 1e3 * rank[-1], 1e3 * max(idle), 1e3 * opened))
        check(len(busy) >= 15, "only %d keys while it worked" % len(busy))
        check(rank[len(rank) * 9 // 10] < max(0.1, 10 * max(idle)), "nine of ten keys: %.3f s" % rank[len(rank) * 9 // 10])
        check(rank[-1] < max(1.0, 20 * max(idle)), "the slowest key: %.3f s" % rank[-1])
        target.check_unharmed()


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
    """Control-C is a key that leaves."""
    target = harness.start("browse")
    with Browser(target) as browser:
        browser.send("C-c")
        check_equal(browser.ended(10), 0, "exit status")
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
        said = "".join(browser.screen().lines)
        check("memscope leaks" in said, "no other way is named: " + said)
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
