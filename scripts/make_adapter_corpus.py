#!/usr/bin/env python3
"""Writes the hostile files of the adapters' readers again: make_adapter_corpus.py [FOLDER].

As make_hostile_corpus.py, for the targets pickle, torch_file and gate_config. Nothing here is ever unpickled: the
malicious pickles are bytes.
"""

import io
import json
import struct
import sys
import zipfile
import zlib
from pathlib import Path


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value


def long1(value, size=8):
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def storage(kind=b"torch\nFloatStorage", key=b"0", elements=6, tag=b"storage", device=b"cpu"):
    return b"(" + text(tag) + b"c" + kind + b"\n" + text(key) + text(device) + long1(elements) + b"tQ"


def numbers(*values):
    return b"(" + b"".join(long1(value) for value in values) + b"t"


REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
NO_HOOKS = b"ccollections\nOrderedDict\n)R"


def tensor(stored=None, offset=0, shape=(2, 3), strides=(3, 1), function=REBUILD, hooks=NO_HOOKS, more=b""):
    return (function + b"(" + (storage() if stored is None else stored) + long1(offset) + numbers(*shape) +
            numbers(*strides) + b"\x89" + hooks + more + b"tR")


def pickle(*items, protocol=b"\x80\x02", end=b"."):
    return protocol + b"}(" + b"".join(items) + b"u" + end


def one(value, name=b"a"):
    return pickle(text(name), value)


PICKLE = {
    "ok-one": one(tensor()),
    "ok-none": pickle(),
    "ok-bfloat16-and-half": pickle(
        text(b"a"), tensor(storage(b"torch\nBFloat16Storage", elements=12)),
        text(b"b"), tensor(storage(b"torch\nHalfStorage", b"1", 8), 2, (3,), (2,))),
    "ok-scalar": one(tensor(offset=5, shape=(), strides=())),
    "ok-empty-tensor": one(tensor(offset=6, shape=(0, 9), strides=(9, 1))),
    "ok-transposed": one(tensor(shape=(3, 2), strides=(1, 3))),
    "ok-memo": pickle(text(b"a") + b"q\x00", tensor() + b"r\x05\x00\x00\x00", text(b"b"), b"h\x05"),
    "ok-small-integers": one(tensor().replace(long1(2), b"K\x02").replace(long1(3), b"M\x03\x00")
                             .replace(long1(1), b"J\x01\x00\x00\x00")),
    "ok-set-item": b"\x80\x02}" + text(b"a") + tensor() + b"s.",
    "ok-ordered-with-versions": b"\x80\x02" + NO_HOOKS + b"(" + text(b"a") + tensor() + b"u}" + text(b"_metadata") +
                                NO_HOOKS + b"sb.",
    "empty": b"",
    "protocol-alone": b"\x80\x02",
    "protocol-0": b"(dp0\n.",
    "protocol-4": b"\x80\x04\x95\x02\x00\x00\x00\x00\x00\x00\x00}.",
    "protocol-twice": b"\x80\x02\x80\x02}.",
    "truncated": one(tensor())[:40],
    "no-stop": pickle(end=b""),
    "more-behind-stop": pickle() + b"}.",
    "os-system": b"\x80\x02cos\nsystem\n" + text(b"echo harm > harm.txt") + b"\x85R.",
    "os-system-as-value": one(b"cos\nsystem\n" + text(b"id") + b"\x85R"),
    "posix-system": one(b"cposix\nsystem\n" + text(b"id") + b"\x85R"),
    "builtins-eval": one(b"cbuiltins\neval\n" + text(b"1") + b"\x85R"),
    "builtins-getattr": one(b"cbuiltins\ngetattr\n)R"),
    "subprocess": one(b"csubprocess\nPopen\n" + text(b"id") + b"\x85R"),
    "inst-os-system": b"(" + b"S'id'\nios\nsystem\n.",
    "obj-os-system": b"\x80\x02(cos\nsystem\n" + text(b"id") + b"o.",
    "newobj": b"\x80\x02cos\nsystem\n)\x81.",
    "stack-global": b"\x80\x02" + text(b"os") + text(b"system") + b"\x93.",
    "ext1": b"\x80\x02\x82\x01.",
    "global-torch-load": one(b"ctorch\nload\n" + text(b"x") + b"\x85R"),
    "global-parameter": one(b"ctorch._utils\n_rebuild_parameter\n)R"),
    "global-double": one(tensor(storage(b"torch\nDoubleStorage", elements=3))),
    "global-storage-elsewhere": one(tensor(storage(b"evil\nFloatStorage"))),
    "global-control-characters": one(b"c\x1b[2J\nsystem\n)R"),
    "global-long": one(b"c" + b"m" * 3000 + b"\nsystem\n)R"),
    "global-without-end": b"\x80\x02cos",
    "call-of-tensor": one(tensor() + b")R"),
    "call-of-storage-type": one(b"ctorch\nFloatStorage\n)R"),
    "call-without-arguments": b"\x80\x02R.",
    "ordered-dict-with-arguments": one(b"ccollections\nOrderedDict\n" + text(b"x") + b"\x85R"),
    "build-on-tensor": one(tensor() + b"}b"),
    "build-with-tuple": b"\x80\x02})b.",
    "state-of-a-type": b"\x80\x02ctorch\nFloatStorage\n}b.",
    "result-tensor": b"\x80\x02" + tensor() + b".",
    "result-two": b"\x80\x02}}.",
    "result-none": b"\x80\x02N.",
    "result-empty-stack": b"\x80\x02.",
    "result-mark": b"\x80\x02(.",
    "value-text": one(text(b"x")),
    "value-dictionary": one(b"}"),
    "value-itself": b"\x80\x02}q\x00" + text(b"a") + b"h\x00s.",
    "key-integer": pickle(b"K\x01", tensor()),
    "key-twice": pickle(text(b"a"), tensor(), text(b"a"), tensor()),
    "key-without-value": pickle(text(b"a")),
    "items-without-mark": b"\x80\x02}u.",
    "items-of-tuple": b"\x80\x02)(u.",
    "set-item-on-mark": b"\x80\x02(" + text(b"a") + text(b"b") + b"s.",
    "tuple-without-mark": b"\x80\x02t.",
    "tuple3-of-two": b"\x80\x02NN\x87.",
    "tuples-in-tuples": b"\x80\x02)" + b"\x85" * 50_000 + b".",
    "many-values": b"\x80\x02" + b"N" * 250_000 + b".",
    "memo-missing": one(b"h\x07"),
    "memo-of-nothing": b"\x80\x02q\x00.",
    "memo-of-mark": b"\x80\x02(q\x00.",
    "memo-long-missing": one(b"j\xff\xff\xff\xff"),
    "text-4-gb": b"\x80\x02X\xff\xff\xff\xffab.",
    "text-truncated": b"\x80\x02X\x05\x00\x00\x00ab",
    "long-9-bytes": one(tensor(offset=0).replace(long1(0), long1(0, 9), 1)),
    "float": one(b"G" + bytes(8)),
    "list": one(b"]"),
    "instruction-0xff": one(b"\xff"),
    "instruction-0": one(b"\x00"),
    "persistent-text": one(text(b"0") + b"Q"),
    "persistent-empty": one(b")Q"),
    "storage-missing": one(tensor(storage(key=b"7"))),
    "storage-leads-away": one(tensor(storage(key=b"../data.pkl"))),
    "storage-other-tag": one(tensor(storage(tag=b"module"))),
    "storage-too-many": one(tensor(storage(elements=7))),
    "storage-too-few": one(tensor(storage(elements=5))),
    "storage-negative": one(tensor(storage(elements=-6))),
    "storage-huge": one(tensor(storage(elements=2**62))),
    "storage-type-of-other-width": one(tensor(storage(b"torch\nHalfStorage"))),
    "tensor-of-tuple": one(tensor(b")")),
    "tensor-with-hooks": one(tensor(hooks=b"}(" + text(b"h") + b"Nu")),
    "tensor-with-metadata": one(tensor(more=b"}")),
    "tensor-few-arguments": one(REBUILD + b")R"),
    "offset-negative": one(tensor(offset=-1)),
    "offset-outside": one(tensor(offset=1)),
    "offset-outside-empty": one(tensor(offset=7, shape=(0,), strides=(1,))),
    "offset-huge": one(tensor(offset=2**63 - 1)),
    "shape-outside": one(tensor(shape=(2, 4), strides=(3, 1))),
    "shape-negative": one(tensor(shape=(-2, 3))),
    "shape-huge": one(tensor(shape=(2**62, 2**62), strides=(0, 0))),
    "shape-bomb": one(tensor(shape=(2**40,), strides=(0,))),
    "shape-bool": one(tensor().replace(long1(2), b"\x88", 1)),
    "shape-nine": one(tensor(shape=(1,) * 9, strides=(1,) * 9)),
    "strides-outside": one(tensor(strides=(100, 1))),
    "strides-negative": one(tensor(offset=5, strides=(-3, -1))),
    "strides-overflow": one(tensor(strides=(2**62, 2**62))),
    "strides-more": one(tensor(strides=(3, 1, 1))),
    "strides-zero": one(tensor(shape=(7,), strides=(0,))),
}


def archive(entries, **changes):
    """A zip of these entries, (name, bytes), as torch.save lays it out; changes patch its records."""
    data, directory = b"", b""
    for name, content in entries:
        name = name.encode() if isinstance(name, str) else name
        crc = changes.get("crc", zlib.crc32(content))
        method, flags = changes.get("method", 0), changes.get("flags", 0)
        header = len(data) + changes.get("shift", 0)
        local_name = changes.get("local_name", name)
        data += struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, flags, method, 0, 0, crc, len(content), len(content),
                            len(local_name), 0) + local_name + content
        size = changes.get("size", len(content))
        directory += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, flags, method, 0, 0, crc,
                                 changes.get("stored", size), size, len(name), 0, 0, 0, 0, 0, header) + name
    count = changes.get("count", len(entries))
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, changes.get("directory_size", len(directory)),
                      changes.get("directory_at", len(data)), 0)
    return data + directory + changes.get("between", b"") + end


def zip64(entries):
    """The same with every size and offset in its 64-bit form."""
    data, directory = b"", b""
    for name, content in entries:
        name, header = name.encode(), len(data)
        data += struct.pack("<IHHHHHIIIHH", 0x04034B50, 45, 0, 0, 0, 0, zlib.crc32(content), 0xFFFFFFFF, 0xFFFFFFFF,
                            len(name), 20) + name + struct.pack("<HHQQ", 1, 16, len(content), len(content)) + content
        directory += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 45, 45, 0, 0, 0, 0, zlib.crc32(content),
                                 0xFFFFFFFF, 0xFFFFFFFF, len(name), 28, 0, 0, 0, 0, 0xFFFFFFFF) + name
        directory += struct.pack("<HHQQQ", 1, 24, len(content), len(content), header)
    at = len(data)
    end64 = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, len(entries), len(entries), len(directory), at)
    locator = struct.pack("<IIQI", 0x07064B50, 0, at + len(directory), 1)
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return data + directory + end64 + locator + end


def entries(content=None, root="archive", more=(), data=bytes(24)):
    return [(f"{root}/data.pkl", one(tensor()) if content is None else content), (f"{root}/byteorder", b"little"),
            (f"{root}/data/0", data), *more]


def compressed():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in entries():
            packed.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def nested():
    """A record inside of another one's bytes."""
    inner = struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, 0, 0, 0, 0, 0, 0, 14, 0) + b"archive/data/1" + b"abcd"
    outer = archive(entries(data=inner))
    at = outer.index(inner)
    end = outer.rindex(b"PK\x05\x06")
    directory = struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, 0, 0, 0, 0, zlib.crc32(b"abcd"), 4, 4, 14, 0, 0,
                            0, 0, 0, at) + b"archive/data/1"
    _, _, _, _, count, size, begin, _ = struct.unpack("<IHHHHIIH", outer[end:])
    return outer[:end] + directory + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count + 1, count + 1,
                                                 size + len(directory), begin, 0)


GOOD = archive(entries())
ALIASES = pickle(*[text(b"%d" % i) + tensor() for i in range(60)])

TORCH_FILE = {
    "ok-plain": GOOD,
    "ok-comment": GOOD[:-2] + struct.pack("<H", 5) + b"hello",
    "ok-other-records": archive(entries(more=[("archive/version", b"3\n"), ("archive/.data/serialization_id", b"1")])),
    "ok-zip64": zip64(entries()),
    "ok-no-byteorder": archive([entries()[0], entries()[2]]),
    "empty": b"",
    "no-zip": b"no zip file at all, but longer than twenty-two bytes",
    "older-format": b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.",
    "truncated": GOOD[:-30],
    "truncated-front": GOOD[30:],
    "malicious": archive(entries(PICKLE["os-system"])),
    "malicious-value": archive(entries(PICKLE["os-system-as-value"])),
    "compressed": compressed(),
    "method-12": archive(entries(), method=12),
    "encrypted": archive(entries(), flags=1),
    "wrong-checksum": archive(entries(), crc=1),
    "damaged-data": GOOD.replace(bytes(24), bytes(23) + b"\x01"),
    "no-pickle": archive(entries()[1:]),
    "two-pickles": archive(entries() + entries(root="other")),
    "pickle-without-folder": archive([("data.pkl", one(tensor()))]),
    "big-endian": archive([entries()[0], ("archive/byteorder", b"big"), entries()[2]]),
    "entry-twice": archive(entries() + entries()),
    "name-control-characters": archive(entries(more=[("\x1b[2J", b"")]), method=8),
    "storage-missing": archive(entries()[:2]),
    "storage-short": archive(entries(data=bytes(20))),
    "storage-long": archive(entries(data=bytes(28))),
    "size-outside": archive(entries(), size=2**31),
    "two-sizes": archive(entries(), stored=1),
    "size-64-missing": archive(entries(), size=0xFFFFFFFF, stored=0xFFFFFFFF),
    "header-elsewhere": archive(entries(), shift=1),
    "header-outside": archive(entries(), shift=2**30),
    "header-of-another": archive(entries(), local_name=b"archive/data.pkx"),
    "overlap": nested(),
    "more-entries-stated": archive(entries(), count=4),
    "fewer-entries-stated": archive(entries(), count=2),
    "65535-entries-stated": archive(entries(), count=65535),
    "directory-outside": archive(entries(), directory_at=2**31),
    "directory-size-wrong": archive(entries(), directory_size=10),
    "locator-to-nowhere": archive(entries(), between=struct.pack("<IIQI", 0x07064B50, 0, 2**40, 1)),
    "locator-to-data": archive(entries(), between=struct.pack("<IIQI", 0x07064B50, 0, 0, 1)),
    "aliases-of-one-storage": archive(entries(ALIASES)),
}


GATE = {
    "format_version": 1, "kind": "prefill", "design": "Qavg16_Kmaxminavg", "block_size": 64, "gate_hidden_size": 64,
    "project_queries": True, "project_keys": True, "key_heads": "query", "use_rope": True, "qk_norm": False,
    "base_model": {"name": "m", "fingerprint": "00", "config": {"head_dim": 64}},
}
ROW = {"length": 8192, "density": 0.1, "threshold": 0.025}


def gate(without=(), **changes):
    return json.dumps({key: value for key, value in {**GATE, **changes}.items() if key not in without}).encode()


def calibration(*rows):
    return gate(calibration={"rows": list(rows)})


GATE_CONFIG = {
    "ok-plain": gate(training={"steps": 1}, options={"a": 1, "b": "x", "c": True}),
    "ok-calibration": calibration(ROW, {**ROW, "length": 4096}),
    "ok-by-layer": calibration({**ROW, "threshold": [0.1, 0.2]}),
    "ok-by-head": calibration({**ROW, "threshold": [[0.1, 0.2], [0.3, 0.4]]}),
    "ok-unknown-field": gate(note="kept by nobody"),
    "ok-decode": gate(kind="decode", design="Qproj_Kmaxminavg"),
    "array": b"[]",
    "empty-object": b"{}",
    "version-2": gate(format_version=2),
    "version-text": gate(format_version="1"),
    "version-float": gate(format_version=1.0),
    "no-design": gate(without=["design"]),
    "design-number": gate(design=1),
    "kind-unknown": gate(kind="both"),
    "block-size-negative": gate(block_size=-64),
    "block-size-huge": gate(block_size=2**40),
    "width-float": gate(gate_hidden_size=64.5),
    "project-number": gate(project_queries=1),
    "key-heads-unknown": gate(key_heads="all"),
    "options-array": gate(options=[1]),
    "options-nested": gate(options={"a": {"b": 1}}),
    "options-null": gate(options={"a": None}),
    "base-text": gate(base_model="m"),
    "base-no-config": gate(base_model={"name": "m", "fingerprint": "00"}),
    "base-config-text": gate(base_model={"name": "m", "fingerprint": "00", "config": "x"}),
    "training-text": gate(training="x"),
    "published-array": gate(published=[]),
    "calibration-array": gate(calibration=[ROW]),
    "calibration-no-rows": gate(calibration={}),
    "row-number": calibration(1),
    "row-no-threshold": calibration({"length": 1, "density": 0.1}),
    "row-length-0": calibration({**ROW, "length": 0}),
    "row-density-0": calibration({**ROW, "density": 0}),
    "row-density-1": calibration({**ROW, "density": 1}),
    "row-threshold-0": calibration({**ROW, "threshold": 0}),
    "row-threshold-1": calibration({**ROW, "threshold": 1}),
    "row-threshold-text": calibration({**ROW, "threshold": "0.1"}),
    "row-threshold-empty": calibration({**ROW, "threshold": []}),
    "row-threshold-ragged": calibration({**ROW, "threshold": [[0.1, 0.2], [0.3]]}),
    "row-threshold-mixed": calibration({**ROW, "threshold": [[0.1], 0.2]}),
    "row-threshold-deep": calibration({**ROW, "threshold": [[[0.1]]]}),
    "rows-of-two-forms": calibration(ROW, {**ROW, "length": 4096, "threshold": [0.1]}),
    "rows-twice": calibration(ROW, ROW),
    "threshold-nan": calibration(ROW).replace(b"0.025", b"NaN"),
    "threshold-huge": calibration(ROW).replace(b"0.025", b"1e999"),
    "control-characters": gate(kind="\x1b[2J"),
    "duplicate": gate()[:-1] + b', "kind": "prefill"}',
    "deep": b'{"training":' * 200,
    "truncated": gate()[:100],
}

CORPORA = {"pickle": PICKLE, "torch_file": TORCH_FILE, "gate_config": GATE_CONFIG}


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "fuzz" / "corpus"
    for target, files in CORPORA.items():
        (folder / target).mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / target / name).write_bytes(content)


if __name__ == "__main__":
    main()
