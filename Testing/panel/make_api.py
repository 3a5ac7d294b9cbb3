"""Write api.json, what Python sees of the Qt, CTK and Slicer classes, from a manifest of Slicer's API.

python make_api.py MANIFEST.json

The manifest has `classes` (Slicer and CTK) and `qt_classes`, each class with its own properties, signals, slots,
invokables and enums as Qt's moc lists them, and for Qt the methods that PythonQt wraps. The classes
named in api_classes.txt are kept, one a line:

    ns     qt, ctk or slicer: the module Python finds the class in; empty where it finds none
    base   the class it inherits everything else from
    props  {name: type}, with a - before the type where the property is read-only
    sigs   signatures of signals; the first of a name is the one that `obj.name.connect` takes
    calls  methods and slots as signatures, "=" after a type that may be left out, "static " before class functions
    ctors  types of the constructor's arguments; absent where Python cannot build the class
    enums  {enum: {name: number or null}}
    ui     true where a .ui file may name the class
"""

import json
import re
import sys
from pathlib import Path

# Bases that the manifest leaves out since moc does not see these classes.
BASES = {
    "QBitmap": "QPixmap", "QCloseEvent": "QEvent", "QInputEvent": "QEvent", "QKeyEvent": "QInputEvent",
    "QMouseEvent": "QInputEvent", "QPaintEvent": "QEvent", "QPixmap": "QPaintDevice",
    "QResizeEvent": "QEvent", "QSpacerItem": "QLayoutItem",
    "QUiLoader": "QObject", "QWheelEvent": "QInputEvent", "QWidgetItem": "QLayoutItem",
}  # fmt: skip


def compact_type(text):
    text = re.sub(r"^const (.*?) ?&$", r"\1", text.strip())
    return re.sub(r"\s*([*&<>,])\s*", r"\1", text)


def call(method, static=False):
    parts = [compact_type(p["type"]) + ("=" if p.get("default") is not None else "") for p in method["params"]]
    return f"{'static ' if static else ''}{method['name']}({','.join(parts)})"


def compact(name, entry, is_qt):
    namespace = entry["namespace"] if entry["namespace"] in ("qt", "ctk", "slicer") else ""
    out = {"ns": namespace, "base": entry["base"] or BASES.get(name)}
    props = {p["name"]: ("" if p["writable"] else "-") + p["type"] for p in entry.get("properties", [])}
    sigs = [s for m in entry.get("signals", []) for s in m["signatures"]]
    calls = [call(m) for kind in ("slots", "invokables", "pythonqt_decorators") for m in entry.get(kind, [])]
    wrapper = entry.get("pythonqt_wrapper", {})
    calls += [call(m) for m in wrapper.get("methods", [])]
    calls += [call(m, static=True) for m in wrapper.get("static", [])]
    enums = {}
    for e in entry.get("enums", []):
        numbers = e.get("numeric", {})
        enums[e["name"]] = {v: numbers.get(v) for v in e["values"]}
    if is_qt and wrapper.get("constructors"):
        out["ctors"] = sorted({call({"name": "", "params": c})[1:-1] for c in wrapper["constructors"]})
    elif not is_qt and entry["python"].get("constructible"):
        out["ctors"] = ["QWidget*=" if "QWidget" in entry["python"].get("python_ctor", "") else "QObject*="]
    if entry.get("python", {}).get("designer_plugin"):
        out["ui"] = True
    members = {"props": props, "sigs": sigs, "calls": sorted(set(calls)), "enums": enums}
    return out | {key: value for key, value in members.items() if value}


def main(path):
    manifest = json.loads(Path(path).read_text())
    qt, own = manifest["qt_classes"], manifest["classes"]
    keep = set()
    lines = Path(__file__).with_name("api_classes.txt").read_text().splitlines()
    for name in " ".join(line for line in lines if not line.startswith("#")).split():
        if name not in own and name not in qt:
            sys.exit(f"the manifest has no class {name}")
        while name:
            keep.add(name)
            name = (own.get(name) or qt.get(name) or {}).get("base")
    lines = [
        f"{json.dumps(n)}: {json.dumps(compact(n, own.get(n) or qt[n], n in qt), separators=(',', ':'))}"
        for n in sorted(keep & {*qt, *own})
    ]
    source = {k: f"{v['repository']} {v['commit'][:12]}" for k, v in manifest["_meta"].items() if "commit" in v}
    text = '{"source": ' + json.dumps(source) + ',\n"classes": {\n' + ",\n".join(lines) + "\n}}\n"
    Path(__file__).with_name("api.json").write_text(text)
    print(f"{len(lines)} classes, {len(text) / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1])
