# heapdump.py - reads what runtime/debug.WriteHeapDump() has written: Go's own account of its heap.
"""
The format is src/runtime/heapdump.go's, "go1.7 heap dump", the same in all versions since: records of a
tag and of varints, strings and ranges of memory (a length and the bytes).
"""

import struct

from harness import Failure

HEADER = b"go1.7 heap dump\n"
END, POINTER = 0, 1  # kinds of fields
EOF, OBJECT, OTHER_ROOT, TYPE, GOROUTINE, FRAME, PARAMETERS, FINALIZER, ITAB, THREAD, STATISTICS, QUEUED, DATA, \
    BSS, DEFER, PANIC, PROFILE, SAMPLE = range(18)
# of records that nobody asks about: i is a varint, s a string
OTHERS = {OTHER_ROOT: "si", TYPE: "iisi", ITAB: "ii", THREAD: "iii", STATISTICS: "i" * 281, DEFER: "i" * 7,
          PANIC: "i" * 6, SAMPLE: "ii", FINALIZER: "i" * 5, QUEUED: "i" * 5}


class Memory:
    """A range of the program's memory, and which of its words the collector takes for pointers."""

    def __init__(self, address, contents, fields):
        self.address, self.size, self.contents, self.fields = address, len(contents), contents, fields

    def pointers(self):
        """(address of the word, its value), but for nil."""
        for offset in self.fields:
            value, = struct.unpack_from("<Q", self.contents, offset)
            if value:
                yield self.address + offset, value


class Dump:
    """
    objects, data (two: data and bss), frames: {goroutine: [Memory]}, finalizers: [(object, function)];
    scheduler: addresses of each g and m; alive: MemStats.HeapObjects and HeapAlloc.
    """

    def __init__(self, path):
        with open(path, "rb") as file:
            self._bytes = file.read()
        if not self._bytes.startswith(HEADER):
            raise Failure("no heap dump: %r" % self._bytes[:20])
        self._at = len(HEADER)
        self.objects, self.data, self.frames, self.finalizers, self.version = [], [], {}, [], None
        self.scheduler, self.alive = set(), None
        self._goroutine = None
        while True:
            tag = self._int()
            if tag == EOF:
                break
            self._record(tag)
        if self._at != len(self._bytes):
            raise Failure("%d bytes behind the end of the dump" % (len(self._bytes) - self._at))

    def _int(self):
        value = shift = 0
        while True:
            byte = self._bytes[self._at]
            self._at += 1
            value |= (byte & 0x7f) << shift
            if byte < 0x80:
                return value
            shift += 7

    def _range(self):
        length = self._int()
        self._at += length
        return self._bytes[self._at - length:self._at]

    def _fields(self):
        fields = []
        while True:
            kind = self._int()
            if kind == END:
                return fields
            if kind != POINTER:
                raise Failure("a field of kind %d at %d" % (kind, self._at))
            fields.append(self._int())

    def _skip(self, form):
        return [self._int() if what == "i" else self._range() for what in form]

    def _record(self, tag):
        if tag == OBJECT:
            self.objects.append(Memory(self._int(), self._range(), self._fields()))
        elif tag in (DATA, BSS):
            self.data.append(Memory(self._int(), self._range(), self._fields()))
        elif tag == GOROUTINE:
            address, _, self._goroutine = self._skip("iii")
            self.scheduler.add(address)
            self._skip("iiiiisiiii")
            self.frames[self._goroutine] = []
        elif tag == FRAME:
            address, _, _, contents, *_ = self._skip("iiisiiis")
            self.frames[self._goroutine].append(Memory(address, contents, self._fields()))
        elif tag == PARAMETERS:
            self.version = self._skip("iiiissi")[5].decode()
        elif tag in (FINALIZER, QUEUED):
            self.finalizers.append(tuple(self._skip(OTHERS[tag])[:2]))
        elif tag == THREAD:
            self.scheduler.add(self._skip(OTHERS[tag])[0])
        elif tag == STATISTICS:
            statistics = self._skip(OTHERS[tag])
            self.alive = [statistics[11], statistics[6]]
        elif tag == PROFILE:
            self._skip("ssi" * self._skip("iii")[2] + "ii")
        elif tag in OTHERS:
            self._skip(OTHERS[tag])
        else:
            raise Failure("a record of kind %d at %d" % (tag, self._at))
