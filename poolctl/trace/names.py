"""Names: what the numbers in the records stand for. Standard library only.

One JSON object a line, each written once, at first sight, before the first record that uses it:

- `{"kind": "process", "pid", "python", "sqlalchemy", "anchor": [monotonic_ns, wall_ns], "argv0"}`
- `{"kind": "pool", "n", "class", "dialect", "driver", "url" (redacted), "settings": {pool_size, …}, "engine",
  "async", "in_loop" (a sync pool, first asked where an event loop runs), "met_at" (monotonic ns)}`; pools of one
  engine (`dispose`) share its number
- `{"kind": "site", "n", "file", "line", "function", "stack": [[file, line, function], …]?}`
- `{"kind": "context", "n", "name"}`, `{"kind": "error", "n", "name"}` (exception class only),
  `{"kind": "statement", "n", "text"}`
- `{"kind": "task", "task", "name"}`
- `{"kind": "inherited", "n", "backend_pid"}`: connection n, which a forked child used, and which is its parent's too
- `{"kind": "idle", "n", "site", "until": [file, line, function]}`: leases of this site held their connection for long
  without using it, until this line did
- `{"kind": "sync_in_loop", "n"}`: site n asked a sync pool on a thread whose event loop was running
- `{"kind": "capture", "dropped", "errors", "names_dropped", "sampled", "overhead_ns", "compiled", "blind": […]}`:
  counters, the last line wins; `compiled` is false where capture ran as plain Python; `overhead_ns` is capture's own
  time in the whole run, from `sampled` leases
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any


def read_names(path: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """Return `{kind: {n: entry}}`; entries without `n` are under 0, the last one wins. A torn last line is ignored."""
    names: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    if path.is_file():
        for line in path.read_bytes().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            names[entry["kind"]][int(entry.get("n", 0))] = entry
    return names
