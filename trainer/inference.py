"""Answer prompts with the base model and the trained adapter. Stands alone; ships in the package.

    python inference.py --prompt "I am afraid to open my bank statement."
    python inference.py --interactive
    python inference.py --prompts FILE.json --out FILE.jsonl
    python inference.py --check

Needs torch, transformers, peft, safetensors, and bitsandbytes when the settings say `nf4`.
Settings come from generation.json beside the adapter (or beside this script); options override.
Decoding is greedy at batch 1: the same versions, dtype and thread count give the same text.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DEFAULTS: dict[str, Any] = {
    "base_model": {},
    "dtype": "bfloat16",
    "quantization": "none",
    "compute_dtype": "bfloat16",
    "max_new_tokens": 512,
    "do_sample": False,
    "threads": 0,
    "system_prompt": "",
}
# Llama 3.1 and later write a date before every conversation: this one stood in the training.
TRAINED_DATE = "26 Jul 2024"
Message = dict[str, str]


class Refused(Exception):
    """What a person can mend: printed as it is, without a traceback."""


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line; wrong use exits 2."""
    parser = argparse.ArgumentParser(
        description="Answer prompts with the trained adapter (greedy, one at a time)."
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--prompt", help="answer this text")
    what.add_argument("--interactive", action="store_true", help="talk, line by line")
    what.add_argument("--prompts", type=Path, help='{"prompts": [{"id", "messages"}]}')
    what.add_argument(
        "--check", action="store_true", help="compare with the answers in example_prompts.json"
    )
    parser.add_argument("--out", type=Path, help="answers of --prompts, JSON lines (else stdout)")
    parser.add_argument("--base", help="folder or hub id of the base model")
    parser.add_argument("--adapter", type=Path, help="folder of the adapter (this folder)")
    parser.add_argument("--quantization", choices=("nf4", "none"))
    parser.add_argument("--dtype", choices=("bfloat16", "float32"))
    parser.add_argument("--max-new-tokens", type=int)
    parser.add_argument("--threads", type=int, help="CPU threads, 0 = torch decides")
    parser.add_argument("--system", help="system prompt for --prompt and --interactive")
    return parser.parse_args(argv)


def settings_of(args: argparse.Namespace, adapter: Path) -> dict[str, Any]:
    """DEFAULTS, then generation.json, then the command line."""
    settings = dict(DEFAULTS)
    for folder in (adapter, HERE):
        if (folder / "generation.json").is_file():
            settings.update(read_json(folder / "generation.json"))
            break
    given = {
        "quantization": args.quantization,
        "dtype": args.dtype,
        "compute_dtype": args.dtype,
        "max_new_tokens": args.max_new_tokens,
        "threads": args.threads,
        "system_prompt": args.system,
    }
    settings.update({name: value for name, value in given.items() if value is not None})
    if settings["do_sample"]:
        raise Refused("generation.json asks for sampling: this script decodes greedily only")
    return settings


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise Refused(f"{path} is not valid JSON: {error}") from None


def how_to_get(base: dict[str, Any]) -> str:
    """What a person does to get the base model."""
    lines = [base.get("how_to_get") or ""]
    if base.get("hub_id"):
        pin = f" --revision {base['revision']}" if base.get("revision") else ""
        lines.append(f"hf download {base['hub_id']}{pin} --local-dir base_model")
    lines.append("then: python inference.py --base FOLDER ...   (see README.md, 'Base model')")
    return "\n  ".join(line for line in lines if line)


def base_of(args: argparse.Namespace, settings: dict[str, Any], adapter: Path) -> tuple[str, str]:
    """(folder or hub id, revision) of the base model; Refused says how to get an absent one."""
    base = settings["base_model"]
    if args.base:
        given = Path(args.base)
        if given.is_dir() or (not given.exists() and is_hub_id(args.base)):
            return args.base, ""
        raise Refused(f"there is no base model in {args.base}\n  {how_to_get(base)}")
    for folder in (adapter / "base_model", HERE / "base_model"):
        if (folder / "config.json").is_file():
            return str(folder), ""
    if base.get("hub_id"):
        return str(base["hub_id"]), str(base.get("revision", ""))
    name = base.get("name") or "its base model"
    raise Refused(f"the adapter needs {name}, which is not here\n  {how_to_get(base)}")


def is_hub_id(text: str) -> bool:
    return text.count("/") == 1 and not text.startswith(("/", "."))


def warn_if_other_base(base: str, settings: dict[str, Any]) -> None:
    """A prepared folder states its weights' hash: say so when it is another model."""
    stated, prepared = settings["base_model"].get("sha256"), Path(base) / "prepared.json"
    if stated and prepared.is_file():
        found = read_json(prepared).get("sha256")
        if found and found != stated:
            print(f"warning: {base} is another model than the adapter's ({found[:12]} instead of "
                  f"{stated[:12]}): the answers will differ", file=sys.stderr)  # fmt: skip


class Answerer:
    """Base model with the adapter on it; `answer` is greedy and deterministic."""

    def __init__(self, base: str, revision: str, adapter: Path, settings: dict[str, Any]) -> None:
        import torch
        from peft import PeftModel
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        self.settings = settings
        if settings["threads"]:
            torch.set_num_threads(int(settings["threads"]))
        torch.manual_seed(0)
        pin: dict[str, Any] = {"revision": revision} if revision else {}
        loading: dict[str, Any] = {"dtype": getattr(torch, settings["dtype"]), **pin}
        if settings["quantization"] == "nf4":
            loading["quantization_config"] = nf4_config(settings)
        if torch.cuda.is_available():
            loading["device_map"] = "auto"
        has_tokenizer = (adapter / "tokenizer_config.json").is_file()
        try:
            self.tokenizer: Any = (
                AutoTokenizer.from_pretrained(str(adapter))
                if has_tokenizer
                else AutoTokenizer.from_pretrained(base, **pin)
            )
            model: Any = AutoModelForCausalLM.from_pretrained(base, **loading)
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise Refused(
                f"the base model {base} cannot be loaded: {reason}\n"
                f"  {how_to_get(settings['base_model'])}"
            ) from None
        if settings["quantization"] == "nf4" and not torch.cuda.is_available():
            prepare_nf4_for_cpu(model)
        self.model: Any = PeftModel.from_pretrained(model, str(adapter)).eval()
        self.ends = end_tokens(self.tokenizer, model)
        # A base model's own generation defaults (temperature, penalties) must not leak in.
        self.model.generation_config = greedy(self.ends, int(settings["max_new_tokens"]))
        self.specials = sorted(set(self.tokenizer.all_special_tokens), key=len, reverse=True)

    def messages(self, messages: list[Message]) -> list[Message]:
        """The conversation with texts that cannot end a turn or start another."""
        clean = []
        for message in messages:
            text = message["content"]
            for token in self.specials:
                text = text.replace(token, f"{token[0]} {token[1:]}")
            clean.append({"role": message["role"], "content": text})
        return clean

    def answer(self, messages: list[Message]) -> dict[str, Any]:
        """{text, tokens, finish_reason: stop|length}; tokens without the end-of-turn token."""
        import torch

        inputs = self.tokenizer.apply_chat_template(
            self.messages(messages),
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
            date_string=TRAINED_DATE,
        ).to(self.model.device)
        with torch.inference_mode():
            output = self.model.generate(
                input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
            )
        new = output[0][inputs["input_ids"].shape[1] :].tolist()
        stopped = bool(new) and new[-1] in self.ends
        kept = new[:-1] if stopped else new
        text = self.tokenizer.decode(kept, skip_special_tokens=True).strip()
        return {
            "text": text,
            "tokens": len(kept),
            "finish_reason": "stop" if stopped else "length",
        }

    def stated(self) -> dict[str, Any]:
        """What decides the text, as written beside every answer."""
        import torch

        names = ["torch", "transformers", "peft", "tokenizers", "safetensors"]
        if self.settings["quantization"] == "nf4":
            names.append("bitsandbytes")
        return {
            "dtype": self.settings["dtype"],
            "quantization": self.settings["quantization"],
            "do_sample": False,
            "max_new_tokens": int(self.settings["max_new_tokens"]),
            "threads": torch.get_num_threads(),
            "device": str(self.model.device.type),
            "versions": {name: metadata.version(name) for name in names},
        }


def nf4_config(settings: dict[str, Any]) -> Any:
    """4-bit loading as in training: NF4 with double quantisation."""
    import torch
    from transformers import BitsAndBytesConfig

    try:
        metadata.version("bitsandbytes")
    except metadata.PackageNotFoundError:
        raise Refused(
            "these settings need bitsandbytes: pip install -r requirements.txt\n"
            "  (or --quantization none: more memory, slightly different answers)"
        ) from None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, settings["compute_dtype"]),
    )


def prepare_nf4_for_cpu(model: Any) -> None:
    """Unpack 4-bit weights once instead of at every token: the same numbers, several times faster.

    Where memory is short they stay packed; then the repacking must be off that CPUs with
    avx512_bf16 do in their first forward (it is for good, and its numbers differ).
    """
    import bitsandbytes

    kind = bitsandbytes.nn.Linear4bit
    layers: list[Any] = [layer for layer in model.modules() if isinstance(layer, kind)]
    for layer in layers:
        layer.support_avx512bf16_for_cpu = False
    needed = sum(x.in_features * x.out_features * x.compute_dtype.itemsize for x in layers)
    if needed < free_memory() / 2:
        for layer in layers:
            keep_dense(layer)


def keep_dense(layer: Any) -> None:
    """A 4-bit layer that multiplies with its weight as unpacked once."""
    import bitsandbytes
    import torch

    state = layer.weight.quant_state
    packed = bitsandbytes.functional.dequantize_4bit(layer.weight.data, state)
    dense = packed.to(layer.compute_dtype).view(layer.out_features, layer.in_features)

    def forward(x: torch.Tensor) -> torch.Tensor:
        bias = None if layer.bias is None else layer.bias.to(layer.compute_dtype)
        product = torch.nn.functional.linear(x.to(layer.compute_dtype), dense, bias)
        return product.to(x.dtype)

    layer.forward = forward


def free_memory() -> int:
    """Bytes that are free now; 0 where the system does not tell."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 0


def end_tokens(tokenizer: Any, model: Any) -> list[int]:
    """Ids that end an answer: the tokenizer's and those the base model names."""
    named = model.generation_config.eos_token_id
    ids = named if isinstance(named, list) else [named]
    return sorted({i for i in [*ids, tokenizer.eos_token_id] if i is not None})


def greedy(ends: list[int], max_new_tokens: int) -> Any:
    from transformers import GenerationConfig

    pad = ends[0] if ends else None
    return GenerationConfig(
        do_sample=False,
        num_beams=1,
        max_new_tokens=max_new_tokens,
        eos_token_id=ends or None,
        pad_token_id=pad,
        use_cache=True,
    )


def read_prompts(path: Path) -> list[dict[str, Any]]:
    """[{id, messages: [{role, content}], ...}]; Refused says which prompt is wrong."""
    found = read_json(path)
    prompts = found.get("prompts") if isinstance(found, dict) else None
    if not isinstance(prompts, list):
        raise Refused(f'{path} has no list "prompts"')
    for number, prompt in enumerate(prompts, 1):
        messages = prompt.get("messages") if isinstance(prompt, dict) else None
        if not messages or not all({"role", "content"} <= set(m) for m in messages):
            raise Refused(f"{path}: prompt {number} needs messages with role and content")
    return prompts


def answer_file(answerer: Answerer, prompts: list[dict[str, Any]], out: Path | None) -> None:
    """One JSON line per prompt; a file appears whole or not at all."""
    rows = [
        {"id": p.get("id", ""), **answerer.answer(p["messages"]), "settings": answerer.stated()}
        for p in prompts
    ]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if out is None:
        sys.stdout.write(text)
        return
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(out)


def check(answerer: Answerer, path: Path) -> int:
    """Compare with the golden answers; 0 = all equal. Prints every difference."""
    document = read_json(path)
    prompts = read_prompts(path)
    different = 0
    for prompt in prompts:
        found = answerer.answer(prompt["messages"])["text"]
        same = found == prompt.get("answer")
        different += not same
        print(f"{'same' if same else 'DIFFERENT'}: {prompt.get('id', '')}")
        if not same:
            print(f"  expected: {prompt.get('answer')}\n  found:    {found}")
    stated, now = document.get("settings", {}), answerer.stated()
    print(f"{len(prompts) - different} of {len(prompts)} answers are the same")
    if different:
        for name in sorted(set(stated) | set(now)):
            if stated.get(name) != now.get(name):
                print(f"  setting {name}: made with {stated.get(name)}, here {now.get(name)}")
    return 1 if different else 0


def talk(answerer: Answerer, system: list[Message]) -> None:
    """Read lines until the end of input; `/new` forgets the conversation."""
    print("Type a message. /new starts again, Ctrl-D ends.", file=sys.stderr)
    messages = list(system)
    while True:
        try:
            line = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if line == "/new":
            messages = list(system)
        elif line:
            messages.append({"role": "user", "content": line})
            text = answerer.answer(messages)["text"]
            messages.append({"role": "assistant", "content": text})
            print(text, flush=True)


def run(args: argparse.Namespace) -> int:
    adapter = args.adapter or HERE
    if not (adapter / "adapter_config.json").is_file():
        raise Refused(f"there is no adapter in {adapter}: adapter_config.json is missing")
    settings = settings_of(args, adapter)
    golden = next(
        (f for f in (adapter, HERE) if (f / "example_prompts.json").is_file()), HERE
    ) / "example_prompts.json"  # fmt: skip
    # Bad files are found before the model is loaded.
    prompts = read_prompts(args.prompts or golden) if args.prompts or args.check else []
    base, revision = base_of(args, settings, adapter)
    warn_if_other_base(base, settings)
    answerer = Answerer(base, revision, adapter, settings)
    prompt = settings["system_prompt"]
    system: list[Message] = [{"role": "system", "content": prompt}] if prompt else []
    if args.check:
        return check(answerer, golden)
    if args.prompts:
        answer_file(answerer, prompts, args.out)
    elif args.interactive:
        talk(answerer, system)
    else:
        print(answerer.answer([*system, {"role": "user", "content": args.prompt}])["text"])
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 refused or different answers, 2 wrong use."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Nothing here is compiled, and loading the compiler takes seconds.
    os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # Progress bars and deprecation notes of libraries hide what matters here.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    args = arguments(argv)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            return run(args)
    except Refused as error:
        print(f"inference.py: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
