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

    The same request, with the same plan or without one, is recorded once, with the time of the last command.

    Args:
        study: the content so far.
        request: what to run.
        command: the command line that asks for it.
        looks: the plan of `--until-decided`. One that is recorded already keeps the time at which it was stored.
    """
    fields = request.to_dict()
    entry = {**fields, "command": command, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    if looks:
        entry["until_decided"] = looks

    def same(one: Mapping[str, Any]) -> bool:
        return _plan(one) == _plan(entry) and all(one.get(name) == value for name, value in fields.items())

    requests = study.get("requests", [])
    if looks and (known := [one for one in requests if same(one)]):
        entry["until_decided"] = looks | {"stored": known[0]["until_decided"]["stored"]}
    return {
        "id": study.get("id") or uuid.uuid4().hex[:8],
        "grid": request.grid,
        "command": command,
        "versions": provenance.versions(),
        "requests": [*(one for one in requests if not same(one)), entry],
    }


def _plan(entry: Mapping[str, Any]) -> Any:
    """The hash of a request's plan; None for an ordinary one."""
    looks = entry.get("until_decided")
    return looks.get("sha256") if isinstance(looks, dict) else looks
