"""What study.json records: the requests that were made of a results folder."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from search_spaces import Request
from study.results import provenance


def with_request(
    study: Mapping[str, Any], request: Request, command: str, looks: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The content of study.json once a command requests this as well.

    The same request is recorded once, with the time of the last command.

    Args:
        study: the content so far.
        request: what to run.
        command: the command line that asks for it.
        looks: the plan of `--until-decided`. One that is recorded already keeps the time at which it was stored.
    """
    fields = request.to_dict()
    others = []
    for one in study.get("requests", []):
        stored = one.get("until_decided")
        if any(one.get(name) != value for name, value in fields.items()):
            others.append(one)
        elif isinstance(stored, dict) and looks and stored.get("sha256") == looks["sha256"]:
            looks = looks | {"stored": stored["stored"]}
        elif stored:
            others.append(one)
    entry = {**fields, "command": command, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    if looks:
        entry["until_decided"] = looks
    return {
        "id": study.get("id") or uuid.uuid4().hex[:8],
        "grid": request.grid,
        "command": command,
        "versions": provenance.versions(),
        "requests": [*others, entry],
    }
