"""The trainer's commands.

python -m trainer                              the pod's entry point, configured by environment
python -m trainer prepare NAME [--models DIR]  make a base model ready, print where it is
python -m trainer playground ...               both models side by side (`brightrun playground`)
"""

from __future__ import annotations

import argparse
import os
import sys


def main() -> int:
    """Exit status of the chosen command."""
    parser = argparse.ArgumentParser(prog="python -m trainer", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    prepare = commands.add_parser("prepare", help="make a base model ready in the cache")
    prepare.add_argument("name", help="tiny | demo | folder | file.gguf | org/name[@revision]")
    prepare.add_argument("--models", help="cache of prepared models", default=None)
    prepare.add_argument(
        "--offline", action="store_true", help="fetch nothing, and tell a problem as JSON (a job)"
    )
    prepare.add_argument(
        "--revision", default="", help="of a hub id, and tell a problem as JSON (a pod)"
    )
    playground = commands.add_parser("playground", help="both models, word by word, over a pipe")
    for name in ("--base", "--adapter", "--settings"):
        playground.add_argument(name, required=True)
    chosen = parser.parse_args()
    if chosen.command == "prepare":
        from trainer.prepare import command

        return command(chosen.name, chosen.models, offline=chosen.offline, revision=chosen.revision)
    if chosen.command == "playground":
        from trainer import offline

        offline.apply()
        from trainer.playground import command as play

        return play(chosen.base, chosen.adapter, chosen.settings)
    from trainer import selfend
    from trainer.entry import main as pod

    leads = os.environ.get("RANK", "0") == "0"
    status = pod()
    if leads and selfend.POD in os.environ:
        selfend.stay()
    return status


if __name__ == "__main__":
    sys.exit(main())
