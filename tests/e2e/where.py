# where.py - debug aid: shows each word in a fixture's memory that points into one of its blocks.
"""
Usage: where.py NAME-PREFIX FIXTURE [ARGUMENT...]

Starts the fixture, stops nothing and scans all readable memory, whether a leak checker would look
there or not. For each block whose name starts with the prefix prints the places and the map or the
block they lie in. A fixture whose `definite` block has a pointer in a live place is wrong.
"""

import bisect
import struct
import sys

import harness


def readable_maps(pid):
    with open("/proc/%d/maps" % pid) as lines:
        for line in lines:
            words = line.split(None, 5)
            begin, end = (int(x, 16) for x in words[0].split("-"))
            name = words[5].strip() if len(words) > 5 else "anonymous"
            if name not in ("[vvar]", "[vsyscall]", "[vvar_vclock]"):
                yield begin, end, words[1], name


def pages_present(pagemap, begin, end):
    pagemap.seek(begin // 4096 * 8)
    data = pagemap.read((end - begin) // 4096 * 8)
    entries = struct.unpack("<%dQ" % (len(data) // 8), data)
    return [begin + 4096 * i for i, e in enumerate(entries) if e >> 62]


def pointers(pid, sizes):
    """
    Each aligned word of a process's memory that points into a block of {address: size}, or right
    behind it: (block, offset, address of the word, map it lies in).
    """
    starts = sorted(sizes)
    low, high = starts[0], max(a + s for a, s in sizes.items())
    found = []
    with open("/proc/%d/mem" % pid, "rb", 0) as memory, \
            open("/proc/%d/pagemap" % pid, "rb") as pagemap:
        for begin, end, rights, what in readable_maps(pid):
            for page in pages_present(pagemap, begin, end):
                try:
                    memory.seek(page)
                    words = struct.unpack("<512Q", memory.read(4096))
                except (OSError, struct.error):
                    continue
                for i, word in enumerate(words):
                    if low <= word <= high:
                        start = starts[max(bisect.bisect_right(starts, word) - 1, 0)]
                        if start <= word <= start + sizes[start]:
                            place = page + 8 * i
                            found.append((start, word - start, place,
                                          "%s %s+%#x" % (what, rights, place - begin)))
    return found


def main():
    prefix, name, arguments = sys.argv[1], sys.argv[2], sys.argv[3:]
    target = harness.start(name, *arguments)
    blocks = target.truth.blocks
    found = {}
    for block, offset, place, what in pointers(target.pid, {a: b[3] for a, b in blocks.items()}):
        inside = [b[0] for a, b in blocks.items() if a <= place < a + b[3]]
        found.setdefault(block, []).append((offset, place, inside[0] if inside else what))
    for address in sorted(blocks):
        if blocks[address][0].startswith(prefix):
            print("%s %#x %s" % (blocks[address][0], address, "|".join(blocks[address][2])))
            for offset, place, what in found.get(address, []):
                print("    +%d at %#x in %s" % (offset, place, what))


if __name__ == "__main__":
    main()
