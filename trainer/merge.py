"""Merge the adapter into its base model: one model folder for servers without LoRA.

    python merge.py --base FOLDER_OR_HUB_ID --out merged

Stands alone; ships in the package. Needs torch, transformers and peft, and memory for the whole
base model in the chosen dtype (70B in bfloat16: about 141 GB).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line; wrong use exits 2."""
    parser = argparse.ArgumentParser(description="Merge the adapter into its base model.")
    parser.add_argument("--base", required=True, help="folder or hub id of the base model")
    parser.add_argument("--adapter", type=Path, default=HERE, help="folder of the adapter")
    parser.add_argument("--out", type=Path, required=True, help="new folder for the merged model")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    return parser.parse_args(argv)


def merge(args: argparse.Namespace) -> Path:
    """Load, merge, save with the tokenizer of the training; returns the folder."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    settings: dict[str, Any] = json.loads((args.adapter / "generation.json").read_text())
    pinned = settings.get("base_model", {}).get("revision", "")
    is_folder = Path(args.base).is_dir()
    options = {} if is_folder or not pinned else {"revision": pinned}
    dtype = torch.bfloat16 if args.dtype == "bfloat16" else torch.float32
    base = AutoModelForCausalLM.from_pretrained(args.base, dtype=dtype, **options)
    merged = PeftModel.from_pretrained(base, str(args.adapter)).merge_and_unload()
    merged.save_pretrained(args.out)
    for name in TOKENIZER:
        (args.out / name).write_bytes((args.adapter / name).read_bytes())
    return Path(args.out)


def main() -> None:
    args = arguments()
    if args.out.exists():
        sys.exit(f"{args.out} exists already: name a new folder")
    if not (args.adapter / "generation.json").is_file():
        sys.exit(f"{args.adapter} holds no package: generation.json is missing")
    folder = merge(args)
    print(f"Merged model in {folder}. It was trained in 4 bit when generation.json says nf4: its")
    print("answers are then close to the golden ones, not equal.")


if __name__ == "__main__":
    main()
