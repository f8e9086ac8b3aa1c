"""Probes: the programs that the suite of sandboxes runs in boxes.

Each runs as `("python3", "-c", program, *words)` and needs nothing but the standard library, of
Python 3.9 or newer. None connects to anything, and what it starts it ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["PROBES"]

PROBES: Final[Mapping[str, str]] = {
    "say": """
import sys
sys.stdout.buffer.write(bytes(range(256)))
sys.stderr.buffer.write(bytes(reversed(range(256))))
sys.exit(3)
""",
    "copy": "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())",
    "ignore": "print('done')",
    "words": "import json, sys; print(json.dumps(sys.argv[1:]))",
    "pour": """
import sys
for stream in (sys.stdout.buffer, sys.stderr.buffer):
    for _ in range(int(sys.argv[1]) // 4096):
        stream.write(b"x" * 4096)
""",
    "wait": "import time; time.sleep(600)",
    "stubborn": """
import signal, time
for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(one, signal.SIG_IGN)
time.sleep(600)
""",
    "beat": """
import os, time
if os.fork() == 0:
    os.setsid()
while True:
    with open("beats", "ab") as file:
        file.write(b".")
    time.sleep(0.02)
""",
    "drip": "import time; print('first', flush=True); time.sleep(600)",
    "pause": "import time; time.sleep(0.5)",
    "put": """
import os, sys
os.makedirs(os.path.dirname(sys.argv[1]) or ".", exist_ok=True)
with open(sys.argv[1], "wb") as file:
    file.write(sys.stdin.buffer.read())
""",
    "get": """
import sys
with open(sys.argv[1], "rb") as file:
    sys.stdout.buffer.write(file.read())
""",
    "list": """
import json, os
print(json.dumps(sorted(
    os.path.relpath(os.path.join(folder, name))
    for folder, _, names in os.walk(".") for name in names
)))
""",
    "remove": "import os, sys; os.remove(sys.argv[1])",
    "variable": "import os; print(os.environ.get('ASTRO_GIVEN', 'none'), end='')",
    "link": "import os, sys; os.symlink(sys.argv[1], sys.argv[2])",
    "environment": """
import glob, json, os
found = [json.dumps(dict(os.environ))]
for path in glob.glob("/proc/[0-9]*/environ"):
    try:
        with open(path, "rb") as file:
            found.append(file.read().decode("latin-1"))
    except OSError:
        pass
print(found)
""",
    "network": """
import json, socket
made = []
for family, kind in (("AF_PACKET", "SOCK_RAW"), ("AF_VSOCK", "SOCK_STREAM")):
    try:
        socket.socket(getattr(socket, family), getattr(socket, kind)).close()
        made.append(family)
    except (OSError, AttributeError):
        pass
with open("/proc/net/route") as file:
    routes = file.read().splitlines()[1:]
with open("/proc/net/dev") as file:
    names = [line.split(":")[0].strip() for line in file.read().splitlines()[2:]]
interfaces = [name for name in names if name != "lo"]
print(json.dumps({"interfaces": interfaces, "routes": routes, "sockets": made}))
""",
    "identity": """
import json, os
with open("/proc/self/uid_map") as file:
    ranges = [[int(number) for number in line.split()] for line in file]
outside = [out + os.getuid() - own for own, out, size in ranges if 0 <= os.getuid() - own < size]
with open("/proc/self/status") as file:
    status = dict(line.split(":", 1) for line in file)
print(json.dumps({
    "user": outside[0] if outside else 65534,
    "capabilities": int(status["CapEff"], 16),
    "gains": status["NoNewPrivs"].strip() != "1",
}))
""",
    "roots": """
import json, os
written = []
for folder in ("/", "/bin", "/etc", "/home", "/lib", "/opt", "/root", "/usr", "/usr/bin", "/var"):
    path = os.path.join(folder, "astro-probe")
    try:
        open(path, "xb").close()
        os.unlink(path)
        written.append(folder)
    except OSError:
        pass
print(json.dumps(written))
""",
    "fork": """
import os, signal, sys, time
children = []
try:
    while len(children) < int(sys.argv[1]):
        child = os.fork()
        if child == 0:
            time.sleep(600)
        children.append(child)
    print("survived")
except OSError:
    print("refused")
finally:
    for child in children:
        os.kill(child, signal.SIGKILL)
""",
    "hog": """
import sys
held = []
for _ in range(int(sys.argv[1]) // 2**20):
    held.append(bytearray(b"x" * 2**20))
print("survived")
""",
    "fill": """
import os, sys
try:
    for number in range(int(sys.argv[1]) // 2**20):
        with open("full%d" % number, "wb") as file:
            file.write(b"x" * 2**20)
    print("survived")
except OSError:
    print("refused")
""",
    "endless": """
import sys
while True:
    sys.stdout.buffer.write(b"x" * 2**20)
""",
}
"""By name, so that a double can answer them."""
