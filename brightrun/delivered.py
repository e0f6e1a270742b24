"""What a delivered package runs on, and where the pod writes down which versions it had."""

from __future__ import annotations

GOLDEN = "measurements/golden.jsonl"
# Package -> version: LIBRARIES and all that they require, where the golden answers were made.
PACKAGES = "measurements/packages.json"
LIBRARIES = ("torch", "transformers", "peft", "safetensors", "tokenizers", "accelerate")
FOR_NF4 = "bitsandbytes"
