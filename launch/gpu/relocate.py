"""Makes an executable look for its libraries beside itself: relocate.py FILE RUN_PATH

Overwrites the text of an ELF file's DT_RPATH (or DT_RUNPATH) by one that is not longer, as chrpath does, which need not be
installed. RUN_PATH may hold $ORIGIN. The tag stays, so DT_RPATH still comes before LD_LIBRARY_PATH.
"""
import struct
import sys

DT_NULL, DT_STRTAB, DT_RPATH, DT_RUNPATH = 0, 5, 15, 29
PT_LOAD, PT_DYNAMIC = 1, 2


def relocate(path, run_path):
    with open(path, "r+b") as file:
        data = bytearray(file.read())
        if data[:6] != b"\x7fELF\x02\x01":
            sys.exit(f"{path} is no 64-bit little-endian ELF file")
        (offset,) = struct.unpack_from("<Q", data, 32)
        size, count = struct.unpack_from("<HH", data, 54)
        headers = [struct.unpack_from("<IIQQQQQQ", data, offset + i * size) for i in range(count)]
        entries = {}
        for kind, _, at, _, _, length, _, _ in headers:
            if kind == PT_DYNAMIC:
                for tag, value in struct.iter_unpack("<qQ", data[at:at + length - length % 16]):
                    if tag == DT_NULL:
                        break
                    entries.setdefault(tag, value)
        tag = DT_RPATH if DT_RPATH in entries else DT_RUNPATH
        if tag not in entries:
            sys.exit(f"{path} has no run path")
        strings = entries[DT_STRTAB]
        for kind, _, at, address, _, length, _, _ in headers:
            if kind == PT_LOAD and address <= strings < address + length:
                strings += at - address
                break
        start = strings + entries[tag]
        end = data.index(0, start)
        new = run_path.encode()
        if len(new) > end - start:
            sys.exit(f"{path}: the run path {run_path} is longer than the {end - start} bytes of the old one")
        data[start:end] = new + bytes(end - start - len(new))
        file.seek(0)
        file.write(data)


relocate(*sys.argv[1:])
