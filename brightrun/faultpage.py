"""docs/errors.md from `brightrun.faults`: `python -m brightrun.faultpage > docs/errors.md`."""

from __future__ import annotations

from brightrun.faults import FAULTS


def page() -> str:
    """The content of docs/errors.md."""
    lines = [
        "# Errors of a job",
        "",
        "Written by `python -m brightrun.faultpage > docs/errors.md`; do not edit. Each error",
        "names its place here. `family` decides the reaction: `spot_interrupted` is repeated on a",
        "new pod, all others end the job with its checkpoints kept.",
        "",
    ]
    for name, fault in FAULTS.items():
        lines += [
            f"## {name.replace('_', '-')}",
            "",
            f"**{fault.title}** (`{name}`, family `{fault.family}`)",
            "",
            f"- Likely cause: {fault.cause}.",
            f"- Fix: {fault.fix}.",
            f"- What happens: {fault.then}",
            "",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(page(), end="")
