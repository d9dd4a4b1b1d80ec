"""JSON Schemas of the payloads and the AsyncAPI document, published in ``docs/schemas``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge_occ.mqtt.asyncapi import asyncapi_document
from edge_occ.mqtt.commands.answers import CommandAck
from edge_occ.mqtt.commands.requests import REQUESTS
from edge_occ.mqtt.payload_base import Message
from edge_occ.mqtt.payloads import PAYLOADS, SnapshotInfo


def json_schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema (2020-12) of each kind of payload, as published; of ``command``, as accepted."""
    draft = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    models: dict[str, type[Message]] = {**PAYLOADS, "snapshot": SnapshotInfo, "command-ack": CommandAck}
    sent = {kind: {**draft, **model.model_json_schema(mode="serialization")} for kind, model in models.items()}
    return {**sent, "command": {**draft, **REQUESTS.json_schema()}}


def published() -> dict[str, dict[str, Any]]:
    """Return all published documents by the names of their files, without ``.json``."""
    return {**json_schemas(), "asyncapi": asyncapi_document()}


def write_schemas(folder: Path) -> list[Path]:
    """Write the published documents into ``folder`` and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, document in published().items():
        file = folder / f"{name}.json"
        file.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        files.append(file)
    return files
