# pyobjects.py - a Python program that says what all its objects are, and how answers about them are judged.
import collections
import re
import sys

import harness
from harness import check
from typetruth import live_blocks, some

# Classes of its own, derived ones, with and without slots; what is built in and what modules bring; objects that the
# collector knows and does not; all widths of text. Then the class of each object that is reached from all that the
# collector knows, while nothing more is made but what the list of them itself takes: numbers, strings, tuples.
CODE = """
import collections, gc, re, sys
class Thing:
    def __init__(self, i): self.i, self.name, self.d = i, 'thing %d' % i, {str(i): i}
class Slots: __slots__ = ('a', 'b')
class Meta(type): pass
class WithMeta(dict, metaclass=Meta): pass
class Text(str): pass
class Number(int): pass
things, slots = [Thing(i) for i in range(500)], [Slots() for i in range(100)]
derived = [WithMeta({i: i}) for i in range(50)], [Text('text %d' % i) for i in range(50)], [Number(10 ** i) for i in range(50)]
deque, numbers = collections.deque(range(1000)), set(range(2000))
ordered = collections.OrderedDict((i, str(i)) for i in range(500))
expressions = [re.compile('a%d(b|c)*' % i) for i in range(50)]
arrays, raw = [bytearray(100 + i) for i in range(500)], [b'x' * i for i in range(100)]
wide = [c + str(i) for c in ('r\\xe9sum\\xe9', '\\u65e5', '\\U0001f600') for i in range(50)]
floats, frozen = [i * 1.5 for i in range(100)], [frozenset([i, -i]) for i in range(100)]
generators, functions = [(x for x in (i,)) for i in range(20)], [lambda: i for i in range(20)]
made = 'co_code', 'co_lines', 'co_positions', 'co_lnotab', 'co_varnames', 'co_cellvars', 'co_freevars'
seen, todo = {}, gc.get_objects()
while todo:
    one = todo.pop()
    if id(one) not in seen:
        seen[id(one)] = one
        todo.extend(gc.get_referents(one))
        if type(one).__name__ == 'code':  # the collector knows nothing of what is in these
            todo.extend(getattr(one, name) for name in dir(one) if name.startswith('co_') and name not in made)
said = [(address, type(one).__name__) for address, one in seen.items()]
del seen, one
for address, name in said:
    print('note object %#x %s' % (address, name))
print('ready', flush=True)
sys.stdin.read()
"""
OF_THE_LIST = {"int", "str", "tuple", "dict", "list"}
UNSEEN = {"bytes", "builtin_function_or_method"}  # what code keeps to itself, and the method that is being called


def start(python="/usr/bin/python3"):
    """The program, each of its objects in a block of its own; -I would not let the environment say so."""
    return harness.Target([python, "-s", "-c", CODE], environment={"PYTHONMALLOC": "malloc"})


def plain(text):
    """The class in an answer, without a module: None when it is the name of something in C."""
    found = re.match(r"Python (?:.*\.)?([^.]+)$", text or "")
    return found and found.group(1)


def check_objects(target, least):
    """Each object in a block is known by its class, or by its structure in C; nothing else is called an object."""
    answers, report = live_blocks(target)
    truth = [line.split(" ", 1) for line in target.truth.notes["object"]]
    named = in_c = 0
    wrong, objects = [], set()
    for address, class_name in ((int(a, 16), c) for a, c in truth):
        # the collector's head is before it, and behind that what 3.11 and 3.12 have for attributes
        start = next((address - before for before in (0, 16, 32) if address - before in answers), None)
        if start is None:
            continue  # a static of the interpreter
        objects.add(start)
        text, by = answers[start]
        if plain(text) == class_name:
            named += 1
        elif by in ("vtable", "container", "pointer") and not plain(text):
            in_c += 1
        else:
            wrong.append("%s at %#x: %s by %s" % (class_name, address, text, by))
    more = collections.Counter(plain(text) for a, (text, _) in answers.items() if a not in objects)
    more = {name: count for name, count in more.items() if name and name not in OF_THE_LIST | UNSEEN}
    typed, live = report["typed"], report["live"]["bytes"]
    facts = sum(typed[by]["bytes"] for by in ("vtable", "format", "container", "pointer")) / live
    print("# %d objects in blocks: %d by their class, %d by their structure; %.1f%% of the bytes are known"
          % (len(objects), named, in_c, 100 * facts))
    check(len(objects) > 10000, "only %d objects are in blocks" % len(objects))
    check(not wrong, "%d are not what they are:\n%s" % (len(wrong), some(wrong)))
    check(facts >= least, "only %.1f%% of the bytes are known" % (100 * facts))
    return more
