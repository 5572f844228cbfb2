"""How the picture of a pipeline looks: its style sheet, in light and dark."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["NAME", "SMALL", "style_sheet"]

NAME, SMALL = 14.0, 11.0
"""The sizes of letters in pixels: names, and all else."""

_LIGHT = {
    ".paper": "fill:#ffffff",
    ".name": "fill:#1b2733",
    ".node": "fill:#5b6b7b",
    ".detail": "fill:#3c4a58",
    ".runs": "fill:#8a4b08",
    ".input .frame": "fill:#e3effb;stroke:#5b8fc7",
    ".step .frame": "fill:#f7f9fb;stroke:#b4c0cc",
    ".output .frame": "fill:#e4f4ea;stroke:#4f9d6e",
    ".output .ring": "stroke:#4f9d6e",
    ".pile": "stroke:#b4c0cc",
    ".link": "stroke:#8796a5",
    ".core": "stroke:#ffffff",
    ".head": "fill:#8796a5",
    ".label rect": "fill:#ffffff",
    ".label text": "fill:#5b6b7b",
}
_DARK = {
    ".paper": "fill:#12181f",
    ".name": "fill:#edf2f7",
    ".node": "fill:#9fb0c0",
    ".detail": "fill:#c3cfda",
    ".runs": "fill:#f0b36b",
    ".input .frame": "fill:#16304a;stroke:#5b8fc7",
    ".step .frame": "fill:#1d2731;stroke:#4a5968",
    ".output .frame": "fill:#16352a;stroke:#4f9d6e",
    ".output .ring": "stroke:#4f9d6e",
    ".pile": "stroke:#4a5968",
    ".link": "stroke:#7d8d9c",
    ".core": "stroke:#12181f",
    ".head": "fill:#7d8d9c",
    ".label rect": "fill:#12181f",
    ".label text": "fill:#9fb0c0",
}
_FORMS = {
    "text": "text-anchor:middle",
    ".name": f"font:700 {NAME:g}px system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',"
    "Arial,'Noto Sans','Noto Sans CJK SC',sans-serif",
    ".node,.detail,.runs,.label text": f"font:{SMALL:g}px ui-monospace,SFMono-Regular,Menlo,"
    "Consolas,'DejaVu Sans Mono','Noto Sans Mono CJK SC',monospace",
    ".frame": "stroke-width:1.25",
    ".ring,.pile": "fill:none;stroke-width:1.25",
    ".link": "fill:none;stroke-width:1.5",
    ".link.many": "stroke-width:5",
    ".core": "fill:none;stroke-width:2",
}


def style_sheet() -> str:
    """Return the CSS; it speaks of nothing outside the picture when that is put into a page."""
    return f"{_rules(_FORMS)}{_rules(_LIGHT)}@media (prefers-color-scheme:dark){{{_rules(_DARK)}}}"


def _rules(rules: Mapping[str, str]) -> str:
    scoped = (
        (",".join(f".visionweave {part}" for part in selector.split(",")), form)
        for selector, form in rules.items()
    )
    return "".join(f"{selector}{{{form}}}" for selector, form in scoped)
