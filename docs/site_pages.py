"""Pages of the site that are made from the code, and links that lead out of the documentation.

A hook of mkdocs: `errors.md` lists every typed error by its code, `api.md` every route of `openapi.json`.
"""

import ast
import json
import re
from pathlib import Path
from typing import Any, Final

from mkdocs.structure.files import File, Files

ROOT: Final = Path(__file__).parents[1]
FLOORS: Final = ("model", "jobs", "workers", "service")
_METHODS: Final = ("get", "post", "put", "patch", "delete", "head", "options")


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages."""
    for name, content in (("errors.md", errors_page()), ("api.md", api_page())):
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Leave of a link to a file of the repository its text: the site does not hold the file."""
    return re.sub(r"\[([^\]]+)\]\((?:\.\./)+(?:[\w-]+/)*[\w.-]+\.(?:py|yml|toml|md)\)", r"\1", markdown)


def errors_page() -> str:
    """Return the typed errors of the sources, by code, with what each says to do."""
    classes: dict[str, tuple[str, str, str]] = {}
    fixes: dict[str, set[str]] = {}
    for tree in (ast.parse(path.read_text("utf-8")) for path in _sources()):
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and (code := _constant(node, "code")) and code != "error":
                text = " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())
                classes[node.name] = (code, _constant(node, "kind"), text)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                fixes.setdefault(name, set()).update(_text(word.value) for word in node.keywords if word.arg == "fix")
    about = (
        "Every error has a `code` that stays, a `detail` that names what was wrong, and a `fix`. Over REST it is "
        "`application/problem+json`; on the command line one line and exit code 2. Words in … are filled in."
    )
    parts = ["# Errors by code", about]
    for name, (code, kind, text) in sorted(classes.items(), key=lambda entry: entry[1][0]):
        parts.append(f"## `{code}`")
        parts.append(f"{text} (*{kind.replace('_', ' ') or 'internal'}*)")
        parts += [f"- {fix}" for fix in sorted(fixes.get(name, set()) - {""})]
    return "\n\n".join(parts) + "\n"


def api_page() -> str:
    """Return the routes of the API, from its committed description."""
    described = json.loads((ROOT / "docs" / "openapi.json").read_text("utf-8"))
    rows = [
        f"| `{method.upper()}` | `{path}` | {route.get('summary', '')} |"
        for path, routes in described["paths"].items()
        for method, route in routes.items()
        if method in _METHODS
    ]
    head = (
        "# REST API\n\nA running service shows every route with its fields at `/docs`, and their description at "
        "`/openapi.json`; [The service](service.md) has what they are for.\n\n| | | |\n|---|---|---|\n"
    )
    return head + "\n".join(rows) + "\n"


def _sources() -> list[Path]:
    found = (path for floor in FLOORS for path in sorted((ROOT / floor).rglob("*.py")))
    return [path for path in found if "node_modules" not in path.parts]


def _constant(node: ast.ClassDef, name: str) -> str:
    for line in node.body:
        target = line.targets[0] if isinstance(line, ast.Assign) else getattr(line, "target", None)
        value = getattr(line, "value", None)
        if isinstance(target, ast.Name) and target.id == name and isinstance(value, ast.Constant):
            return str(value.value)
    return ""


def _text(value: ast.expr) -> str:
    """Return a message as the code has it, with … for what is filled in; empty if it is made elsewhere."""
    if isinstance(value, ast.Constant):
        return str(value.value)
    if isinstance(value, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in value.values)
    return ""
