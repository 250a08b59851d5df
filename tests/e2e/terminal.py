# terminal.py - a terminal for programs that draw on one: a tmux of its own, its keys and its screen.
"""
Terminal(argv) runs a program in a pane of a tmux server of its own, by a control client (`tmux -C`), so that
a key or a look at the screen costs no process. What the program writes is recorded as it is, and so are the
settings of the terminal before and after it, and its exit status.
"""

import atexit
import os
import re
import shlex
import subprocess
import time
import unicodedata

import harness
from harness import Failure, check

_terminals = []
_number = 0


def columns_of(text):
    """How many columns text takes on a terminal."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


class Screen:
    """What is seen: lines, the attributes of each column, and the cursor."""

    def __init__(self, captured, cursor, width):
        self.cursor = cursor  # (column, line, visible)
        self.width = width
        self.lines, self.styles = [], []
        style = frozenset()
        for line in captured:
            text, styles = "", []
            for piece in re.split("(\x1b\\[[0-9;:]*m|[\x0e\x0f])", line):
                if piece.startswith("\x1b["):
                    style = _restyle(style, piece[2:-1])
                elif piece not in ("\x0e", "\x0f"):
                    text += piece
                    for character in piece:
                        styles += [style] * columns_of(character)
            self.lines.append(text.rstrip())
            self.styles.append(styles)

    def __str__(self):
        return "\n".join(self.lines)

    def __contains__(self, text):
        return text in str(self)

    def find(self, text):
        """The line that has text; a failure when there is none."""
        for number, line in enumerate(self.lines):
            if text in line:
                return number
        raise Failure("no %r on the screen:\n%s" % (text, self))

    def attributes(self):
        return {attribute for line in self.styles for style in line for attribute in style}

    def reversed(self, line):
        """How many columns of a line are in reverse video."""
        return sum("7" in style for style in self.styles[line])


def _restyle(style, codes):
    style = set(style)
    numbers = re.split("[;]", codes or "0")
    while numbers:
        code = numbers.pop(0)
        if code in ("", "0"):
            style.clear()
        elif code in ("38", "48"):
            taken = numbers[:2] if numbers[:1] == ["5"] else numbers[:4]
            numbers = numbers[len(taken):]
            style = {s for s in style if not s.startswith(code)} | {":".join([code] + taken)}
        elif code in ("27", "22", "24"):
            style -= {"27": {"7"}, "22": {"1", "2"}, "24": {"4"}}[code]
        elif code in ("39", "49"):
            low, high = (30, 38) if code == "39" else (40, 48)
            style = {s for s in style
                     if not (s.isdigit() and (low <= int(s) < high or low + 60 <= int(s) < high + 60))
                     and not s.startswith(str(high) + ":")}
        else:
            style.add(code)
    return frozenset(style)


class Terminal:
    """A program on a terminal. `prefix` is shell code that runs before it; None in environment unsets."""

    def __init__(self, argv, size=(80, 24), environment=None, after="", prefix=""):
        global _number
        _number += 1
        self.size = size
        self.directory = os.path.join(harness.scratch(), "terminal%d" % _number)
        os.makedirs(self.directory)
        self.socket = os.path.join(self.directory, "tmux")
        self.raw = os.path.join(self.directory, "raw")
        script = os.path.join(self.directory, "script")
        with open(script, "w") as out:
            out.write(self._script(argv, environment or {}, prefix, after))
        self._start(script)
        _terminals.append(self)

    def _script(self, argv, environment, prefix, after):
        variables = dict({"TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": None, "LC_CTYPE": None,
                          "NO_COLOR": None, "TMUX": None, "COLORTERM": None, "LINES": None, "COLUMNS": None},
                         **environment)
        lines = ["trap : INT", "cd %s" % shlex.quote(self.directory)]
        for name, value in variables.items():
            lines.append("unset %s" % name if value is None else "export %s=%s" % (name, shlex.quote(value)))
        lines += ["while [ ! -e go ]; do sleep 0.01; done", "stty -g >before", prefix,
                  " ".join(shlex.quote(str(a)) for a in argv), "status=$?", after, "stty -g >after",
                  "echo $status >status", "echo The program has ended.", "sleep 1000"]
        return "\n".join(lines) + "\n"

    def _start(self, script):
        # libgpm, which ncurses loads for TERM=linux, leaks some bytes of its own
        environment = dict(os.environ, LANG="C.UTF-8", LC_ALL="C.UTF-8", TERM="xterm-256color",
                           NCURSES_GPM_TERMS="none")
        environment.pop("TMUX", None)
        tmux = [harness.tool("tmux"), "-u", "-S", self.socket, "-f", "/dev/null"]
        self.process = subprocess.Popen(
            tmux + ["-C", "new-session", "-x", str(self.size[0]), "-y", str(self.size[1]), "sh", script],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self._answer()  # to new-session
        for command in ("refresh-client -f no-output", "set -g window-size manual", "set -s escape-time 0",
                        "set -g status off", "set -s set-clipboard on", "set -g history-limit 0",
                        "resize-window -x %d -y %d" % self.size,
                        "pipe-pane -O 'exec cat >%s'" % self.raw):
            self.tmux(command)
        self._wait(lambda: os.path.exists(self.raw), "the record", 5)
        open(os.path.join(self.directory, "go"), "w").close()

    def tmux(self, command):
        """Runs one command of tmux; returns the lines it says."""
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self):
        lines = None
        for line in self.process.stdout:
            line = line.decode(errors="replace").rstrip("\n")
            if line.startswith("%begin ") and lines is None:
                lines = []
            elif line.startswith("%end ") and lines is not None:
                return lines
            elif line.startswith("%error ") and lines is not None:
                raise Failure("tmux says %s" % " ".join(lines))
            elif lines is not None:
                lines.append(line)
        raise Failure("tmux is gone")

    # Keys

    def send(self, *keys):
        """Keys by the names that tmux has for them."""
        self.tmux("send-keys " + " ".join("'%s'" % k if k != "'" else '"\'"' for k in keys))

    def type(self, text):
        """Characters, whatever they are called."""
        self.tmux("send-keys -H " + " ".join("%x" % byte for byte in text.encode()))

    def mouse(self, button, column, line):
        """Presses and releases a button of the mouse, at a place counted from 0; 64 and 65 are the wheel."""
        press = "\x1b[<%d;%d;%dM" % (button, column + 1, line + 1)
        self.type(press + (press[:-1] + "m" if button < 64 else ""))

    # The screen

    def screen(self):
        cursor = self.tmux("display-message -p '#{cursor_x} #{cursor_y} #{cursor_flag}'")[0].split()
        return Screen(self.tmux("capture-pane -p -e -N"), tuple(map(int, cursor)), self.size[0])

    def wait(self, wanted, what=None, seconds=None):
        """Waits until the screen has a text, or a function of it is true; returns the screen."""
        if isinstance(wanted, str):
            function, what = (lambda screen: wanted in screen), what or repr(wanted)
        else:
            function, what = wanted, what or getattr(wanted, "__name__", "it")
        deadline = time.monotonic() + (seconds or harness.TIMEOUT)
        pause = 0.002
        while True:
            screen = self.screen()
            if function(screen):
                return screen
            if time.monotonic() > deadline:
                raise Failure("waited in vain for %s on the screen:\n%s" % (what, screen))
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)

    def settle(self, quiet=0.1, seconds=20):
        """Waits until the screen has not changed for a while."""
        deadline = time.monotonic() + seconds
        last, since = None, 0
        while time.monotonic() < deadline:
            screen = self.screen()
            now = (screen.lines, screen.styles)
            if now != last:
                last, since = now, time.monotonic()
            elif time.monotonic() - since >= quiet:
                return screen
            time.sleep(0.02)
        raise Failure("the screen does not come to rest:\n%s" % screen)

    def resize(self, width, height):
        self.size = (width, height)
        self.tmux("resize-window -x %d -y %d" % self.size)

    # What is left of it

    def recorded(self):
        """All that the program has written, as it is."""
        with open(self.raw, "rb") as file:
            return file.read()

    def pid(self):
        """Of the program: the child of the shell in the pane."""
        shell = self.tmux("display-message -p '#{pane_pid}'")[0]
        with open("/proc/%s/task/%s/children" % (shell, shell)) as file:
            children = file.read().split()
        check(len(children) == 1, "the shell has these children: %s" % children)
        return int(children[0])

    def ended(self, seconds=None):
        """Waits until the program has ended; returns its exit status as the shell has it."""
        path = os.path.join(self.directory, "status")
        self._wait(lambda: os.path.exists(path) and os.path.getsize(path) > 0, "the end of the program", seconds)
        return int(self._read("status"))

    def check_restored(self):
        """After the program has ended: settings of the line, cursor, alternate screen and mouse as before."""
        screen = self.wait("The program has ended.")
        harness.check_equal(self._read("after"), self._read("before"), "stty")
        state = self.tmux("display-message -p '#{alternate_on} #{cursor_flag} #{mouse_any_flag} "
                          "#{keypad_flag} #{keypad_cursor_flag}'")[0]
        harness.check_equal(state, "0 1 0 0 0", "alternate screen, cursor, mouse, keypad, cursor keys\n%s" % screen)

    def _read(self, name):
        with open(os.path.join(self.directory, name)) as file:
            return file.read().strip()

    def _wait(self, condition, what, seconds=None):
        deadline = time.monotonic() + (seconds or harness.TIMEOUT)
        while not condition():
            if time.monotonic() > deadline:
                raise Failure("waited in vain for %s; the screen is\n%s" % (what, self.screen()))
            time.sleep(0.01)

    def close(self):
        if self in _terminals:
            _terminals.remove(self)
            try:
                self.process.stdin.write(b"kill-server\n")
                self.process.stdin.close()
            except (BrokenPipeError, OSError):
                pass
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.close()


def close_all():
    for terminal in list(_terminals):
        terminal.close()


atexit.register(close_all)
