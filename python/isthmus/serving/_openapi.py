"""The description of the API, in OpenAPI 3.1."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from isthmus.serving._requests import MAX_HISTORY, MAX_IDS, MAX_N, MAX_QUERY

__all__ = ["DESCRIPTION"]

NUMBER = {"type": "number"}
TEXT = {"type": "string"}
COUNT = {"type": "integer", "minimum": 0}
ID = {"type": ["integer", "string"], "description": "As in the training data."}
N = {"type": "integer", "minimum": 1, "maximum": MAX_N, "default": 10}
IDS = {"type": "array", "items": ID, "maxItems": MAX_IDS}
LISTING = {
    "n": N,
    "candidates": {**IDS, "description": "Items to choose from; all by default."},
    "exclude": {**IDS, "description": "Items to leave out."},
    "exclude_seen": {
        "type": "boolean",
        "default": True,
        "description": "Whether to leave out what was had.",
    },
    "order": {
        "type": "string",
        "enum": ["likely", "rating"],
        "default": "likely",
        "description": "What models of ratings rank by; others have one order.",
    },
}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **(optional or {})},
        "additionalProperties": False,
    }


def _list_of(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": schema}


def _parameter(name: str, schema: dict[str, Any], *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _operation(
    summary: str,
    answer: dict[str, Any],
    *,
    needs: dict[str, Any] | None = None,
    takes: dict[str, Any] | None = None,
    body: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Describe what a route does; every refusal is a sentence."""
    refused = {"description": "Why not.", "content": _json(_ref("Error"))}
    operation: dict[str, Any] = {
        "summary": summary,
        "parameters": [
            *(_parameter(name, schema, required=True) for name, schema in (needs or {}).items()),
            *(_parameter(name, schema) for name, schema in (takes or {}).items()),
        ],
        "responses": {
            "200": {"description": "Done.", "content": _json(answer)},
            "4XX": refused,
            "5XX": refused,
        },
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": _json(body)}
    return operation


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


ITEM = {"item": ID, "title": TEXT, "detail": TEXT}

SCHEMAS = {
    "Error": _object({"error": {**TEXT, "description": "One sentence."}}),
    "Item": _object(ITEM),
    "Items": _object({"items": _list_of(_ref("Item"))}),
    "Scored": _object({"items": _list_of(_object({**ITEM, "score": NUMBER}))}),
    "Map": _object(
        {"items": _list_of(_object({**ITEM, "x": NUMBER, "y": NUMBER, "users": COUNT}))}
    ),
    "Model": _object(
        {
            "model": TEXT,
            "users": COUNT,
            "items": COUNT,
            "titled": {"type": "boolean"},
            "rates": {"type": "boolean", "description": "Whether scores are ratings."},
            "explains_users": {
                "type": "boolean",
                "description": "Whether scores can be explained to a user without a history.",
            },
            "scale": {**_list_of(NUMBER), "description": "Lowest and highest rating of training."},
            "levels": {**_list_of(NUMBER), "description": "Ratings to choose from."},
        }
    ),
    "History": {
        **_list_of(_object({"item": ID}, {"rating": NUMBER})),
        "maxItems": MAX_HISTORY,
        "description": "What someone has had. Models of ratings need a rating of each.",
    },
    "Explanation": _object(
        {
            **ITEM,
            "score": {**NUMBER, "description": "Before clipping."},
            "effects": {
                **_list_of(_object({**ITEM, "rating": NUMBER, "effect": NUMBER})),
                "description": "What the score would lose without each, the greatest first.",
            },
            "remainder": {**NUMBER, "description": "The score less the sum of the effects."},
        }
    ),
}

PATHS = {
    "/healthz": {
        "get": {
            **_operation("Say that the server is up.", _object({"status": TEXT})),
            "security": [{}],
        }
    },
    "/api/openapi.json": {"get": _operation("Describe the API.", {"type": "object"})},
    "/api/model": {"get": _operation("Say what the model is.", _ref("Model"))},
    "/api/items": {
        "get": _operation(
            "Find items by words of their titles; without words, the best known.",
            _ref("Items"),
            takes={"query": {**TEXT, "maxLength": MAX_QUERY}, "n": {**N, "default": 20}},
        )
    },
    "/api/recommend": {
        "get": _operation(
            "Recommend to a user of the training data.",
            _ref("Scored"),
            needs={"user": ID},
            takes=LISTING,
        ),
        "post": _operation(
            "Recommend to anybody, from a history.",
            _ref("Scored"),
            body=_object({"history": _ref("History")}, LISTING),
        ),
    },
    "/api/similar": {
        "get": _operation(
            "Find the items that are most like one.",
            _ref("Scored"),
            needs={"item": ID},
            takes={"n": N},
        )
    },
    "/api/explain": {
        "get": _operation(
            "Say what a user's score owes to what the user had; not of models of ratings, which "
            "do not keep how it was rated.",
            _ref("Explanation"),
            needs={"user": ID, "item": ID},
            takes={"n": N},
        ),
        "post": _operation(
            "Say what a score owes to each entry of a history.",
            _ref("Explanation"),
            body=_object({"history": _ref("History"), "item": ID}, {"n": N}),
        ),
    },
    "/api/map": {
        "get": _operation("Place the best known items in a plane, like ones near.", _ref("Map"))
    },
}

DESCRIPTION: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {
        "title": "isthmus",
        "version": version("isthmus"),
        "description": "Recommendations of one model, with reasons.",
    },
    "paths": PATHS,
    "components": {
        "schemas": SCHEMAS,
        "securitySchemes": {
            "token": {
                "type": "http",
                "scheme": "bearer",
                "description": "Where the server was given a token.",
            }
        },
    },
    "security": [{}, {"token": []}],
}
