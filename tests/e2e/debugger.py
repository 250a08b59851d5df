# debugger.py - what gdb says of a running target: expressions, members, frames; many questions at once.
"""
gdb reads symbols anew each time it starts, so all questions about a target go to one run of it, as JSON
to a script in gdb's own Python. It evaluates; that is all that is believed of it.
"""

import json
import os
import subprocess
import tempfile

import harness

SCRIPT = r"""
import gdb, json, os

def select(question):
    thread, frame = question.get("thread"), question.get("frame")
    threads = gdb.selected_inferior().threads()
    main = [t for t in threads if t.ptid[1] == t.ptid[0]]
    chosen = [t for t in threads if t.ptid[1] == thread] if thread else main
    chosen[0].switch()
    at = gdb.newest_frame()
    for _ in range(frame or 0):
        at = at.older()
    at.select()
    return at

def plain(value):
    kind = value.type.strip_typedefs()
    if kind.code in (gdb.TYPE_CODE_REF, gdb.TYPE_CODE_RVALUE_REF):
        return plain(value.referenced_value())
    if kind.code == gdb.TYPE_CODE_PTR:
        return {"pointer": int(value) & (1 << 64) - 1, "type": str(kind.target().unqualified())}
    if kind.code == gdb.TYPE_CODE_FLT:
        return {"real": float(value)}
    if kind.code in (gdb.TYPE_CODE_INT, gdb.TYPE_CODE_BOOL, gdb.TYPE_CODE_CHAR, gdb.TYPE_CODE_ENUM):
        return {"number": int(value)}
    if kind.code == gdb.TYPE_CODE_ARRAY and kind.target().sizeof == 1:
        return {"text": [int(value[i]) & 255 for i in range(kind.sizeof)]}
    return {"other": str(kind)}

def answer(question):
    frame = select(question)
    if "function" in question:
        return {"function": frame.name()}
    return plain(gdb.parse_and_eval(question["evaluate"]))

def safely(question):
    try:
        return answer(question)
    except Exception as error:
        return {"error": str(error) or type(error).__name__}

with open(os.environ["QUESTIONS"]) as file:
    questions = json.load(file)
with open(os.environ["QUESTIONS"] + ".answers", "w") as file:
    json.dump([safely(q) for q in questions], file)
"""


def ask(pid, questions, options=()):
    """
    The answers, in turn: {"pointer", "type" (of what it points to)}, {"number"}, {"real"}, {"text"},
    {"function"}, or {"error"}. A question is {"evaluate": expression} or {"function": True}, in the
    "thread" (its id) and the "frame" (number) that it names, else in the main thread's innermost one.
    """
    directory = tempfile.mkdtemp(dir=harness.scratch())
    script, file = os.path.join(directory, "script.py"), os.path.join(directory, "questions")
    with open(script, "w") as out:
        out.write(SCRIPT)
    with open(file, "w") as out:
        json.dump(questions, out)
    done = subprocess.run([harness.tool("gdb"), "-nx", "-batch", "-iex", "set debuginfod enabled off",
                           *options, "-p", str(pid), "-x", script], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", env=dict(os.environ, QUESTIONS=file),
                          timeout=5 * harness.TIMEOUT)
    if not os.path.exists(file + ".answers"):
        raise harness.Failure("gdb gave no answers:\n" + done.stdout[-3000:])
    with open(file + ".answers") as answers:
        return json.load(answers)
