"""RunPod's OpenAPI file as a judge of requests and responses (OpenAPI 3.1 = JSON schema 2020-12).

The file is not part of this repository (../shared/data/runpod): without it the fake still works,
unjudged, which the end of a test run says; tests of the judge itself are skipped and named.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

PLACE = Path(__file__).resolve().parents[3].parent / "shared/data/runpod/openapi-v2.json"
ROOT = "urn:runpod"


class Violation(AssertionError):
    """The fake itself answered against the contract."""


class Contract:
    """Judges by path, method and status; `seen` are the (method, path, status) that occurred."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        resource = Resource(contents=document, specification=DRAFT202012)
        self.registry = Registry().with_resource(ROOT, resource)  # type: ignore[var-annotated]
        self.validators: dict[str, Draft202012Validator] = {}
        self.seen: set[tuple[str, str, int]] = set()

    @classmethod
    def load(cls, place: Path = PLACE) -> Contract | None:
        """None when the file is not here."""
        return cls(_read(place)) if place.exists() else None

    def path_of(self, path: str) -> str | None:
        """The contract's own name of a path: /v2/pods/abc -> /v2/pods/{id}."""
        for known in self.document["paths"]:
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", known), path):
                return str(known)
        return None

    def request_errors(self, method: str, path: str, query: dict[str, str], body: Any) -> list[str]:
        """What is wrong with a request; the real API would answer 422 (or 404, 405)."""
        known = self.path_of(path)
        operation = self.document["paths"].get(known, {}).get(method.lower()) if known else None
        if operation is None:
            return [f"$: there is no {method} {path}"]
        where = _pointer("paths", str(known), method.lower())
        errors = self._query_errors(operation, where, query)
        if "requestBody" in operation:
            body_schema = f"{where}/requestBody/content/application~1json/schema"
            errors += self._errors(body_schema, body)
        elif body is not None:
            errors.append("$: no body is expected")
        return errors

    def judge(self, method: str, path: str, status: int, kind: str, body: Any) -> None:
        """Violation when a response is not what the contract says of this status."""
        known = self.path_of(path)
        if known is None:
            return
        operation = self.document["paths"][known].get(method.lower())
        if operation is None:
            raise Violation(f"the contract knows no {method} {known}")
        responses = operation["responses"]
        name = str(status) if str(status) in responses else "default"
        response, where = (
            responses[name],
            _pointer("paths", known, method.lower(), "responses", name),
        )
        if "$ref" in response:
            where = response["$ref"]
            response = self._follow(where)
        self.seen.add((method, known, status))
        content = response.get("content")
        if content is None:
            if body is not None:
                raise Violation(f"{method} {known} {status} has no body")
            return
        if kind not in content:
            raise Violation(f"{method} {known} {status}: {kind} is none of {list(content)}")
        schema = f"{where}/content/{kind.replace('/', '~1')}/schema"
        errors = self._errors(schema, body)
        if errors:
            raise Violation(f"{method} {known} {status}: {errors}")

    def header_errors(self, name: str, value: str) -> list[str]:
        return self._errors(f"#/components/schemas/{name.replace('-', '')}Header", value)

    def _query_errors(
        self, operation: dict[str, Any], where: str, query: dict[str, str]
    ) -> list[str]:
        known = {}
        for number, parameter in enumerate(operation.get("parameters", ())):
            place = parameter.get("$ref", f"{where}/parameters/{number}")
            found = self._follow(place) if "$ref" in parameter else parameter
            if found["in"] == "query":
                known[found["name"]] = (found, place)
        errors = [f"query: {name} is not known" for name in query if name not in known]
        for name in query.keys() & known.keys():
            parameter, place = known[name]
            kind = parameter["schema"].get("type")
            value: Any = query[name]
            if kind == "array":
                value = value.split(",")
            elif kind == "integer" and value.isdigit():
                value = int(value)
            elif kind == "boolean":
                value = {"true": True, "false": False}.get(value, value)
            errors += [f"query {name}: {e}" for e in self._errors(f"{place}/schema", value)]
        return errors

    def _follow(self, reference: str) -> dict[str, Any]:
        found: Any = self.document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
        return dict(found)

    def _errors(self, pointer: str, value: Any) -> list[str]:
        if pointer not in self.validators:
            schema = {"$ref": f"{ROOT}{pointer}"}
            self.validators[pointer] = Draft202012Validator(schema, registry=self.registry)
        return [
            f"{error.json_path}: {error.message}"
            for error in self.validators[pointer].iter_errors(value)
        ]


@cache
def _read(place: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(place.read_text())
    return found


def _pointer(*parts: str) -> str:
    return "#/" + "/".join(part.replace("~", "~0").replace("/", "~1") for part in parts)
