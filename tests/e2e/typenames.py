# typenames.py - the names of types as different tools spell them, brought to one form.
"""
GCC, clang, gdb and libiberty's demangler write the same C++ type in different ways: blanks, where
`const` stands, `long unsigned int`, default template arguments, `3ul`, the inline namespaces __cxx11 and __1.
canonical() takes all that off. It must keep apart what are different types: typed.py tests that.
"""

import re

# Classes that are the default argument of the standard library's templates.
DEFAULTS = re.compile(r"std::(allocator|char_traits|default_delete|less|equal_to|hash)<")
# What has them where they are no default: the argument tells something.
NOT_DEFAULT = ("_Sp_counted_ptr_inplace", "_Vector_base", "_Sp_counted_deleter")
INTEGERS = {
    "long unsigned int": "unsigned long", "unsigned long int": "unsigned long",
    "long int": "long", "short int": "short", "short unsigned int": "unsigned short",
    "unsigned short int": "unsigned short", "unsigned int": "unsigned", "long long int": "long long",
    "long long unsigned int": "unsigned long long",
    "unsigned long long int": "unsigned long long",
}
TOKEN = re.compile(r"\(anonymous namespace\)|\{anonymous\}|\w+|::|[^\s\w]")
KEYWORDS = ("struct", "class", "union", "enum")
ANSWER = re.compile(r"^(?:[\d,]+ bytes \+ )?(.*?)(?: \[([\d,]+)\])?(?: \+ ([\d,]+) bytes)?$", re.S)


def _arguments(words, i):
    """Template arguments from words[i] on, up to the bracket that closes them; and where that is."""
    arguments, depth = [[]], 0
    while i < len(words) and (depth or words[i] != ">"):
        word = words[i]
        if not depth and word == ",":
            arguments.append([])
        else:
            depth += (word in ("<", "(", "[", "{")) - (word in (">", ")", "]", "}"))
            arguments[-1].append(word)
        i += 1
    return arguments, i


def _template(name, arguments):
    """name<arguments> without those that are defaults."""
    given = [_type(a) for a in arguments]
    while len(given) > 1 and not name.endswith(NOT_DEFAULT) and DEFAULTS.match(given[-1]):
        given.pop()
    while len(given) > 1 and given[-1].endswith(("alloc::Global", "RandomState")):
        given.pop()
    if name == "std::basic_string" and given == ["char"]:
        return "std::string"
    return "%s<%s>" % (name, ",".join(given))


def _joined(out):
    text = ""
    for word in out:
        text += " " + word if text and text[-1].isalnum() and word[0].isalnum() else word
    text = re.sub(r"^(\d+)[a-z]+$", r"\1", text)
    base, rest = re.match(r"(.*?)((?: ?const|\*|&)*)$", text).groups()
    return INTEGERS.get(base, base) + rest


def _type(words):
    """One type from its tokens: `const` behind what it belongs to."""
    out, i, const = [], 0, False
    while i < len(words):
        word = words[i]
        if word == "<" and out:
            arguments, i = _arguments(words, i + 1)
            out = [_template(_joined(out), arguments)]
        elif word == "const" and not (out and out[-1] in ("*", "&")):
            const = True
        elif word in ("*", "&") and const:
            out += ["const", word]
            const = False
        elif word in ("{anonymous}", "(anonymous namespace)"):
            out.append("(anonymous)")
        elif word != "volatile" and not (word in KEYWORDS and not out):
            out.append(word)
        i += 1
    return _joined(out + ["const"] if const else out)


def canonical(text):
    """A type's name in one spelling."""
    text = text.replace("(__gnu_cxx::_Lock_policy)2", "2").replace("__gnu_cxx::_S_atomic", "2")
    text = text.replace("std::__cxx11::", "std::").replace("std::__1::", "std::").replace("sync::poison::mutex", "sync::mutex")
    return _type(TOKEN.findall(text))


def parse(text):
    """(canonical name, count, bytes behind) of "struct entry [12] + 24 bytes"."""
    name, count, tail = ANSWER.match(text).groups()
    count, tail = (int(n.replace(",", "")) if n else None for n in (count, tail))
    return canonical(name), 1 if count is None else count, tail or 0
