"""What a fault is, and those of what a job is given: its training file, base model and choices."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One named failure. `family` is the code of its class in brightrun.errors; `then` says what
    the pipeline does by itself."""

    title: str
    family: str
    cause: str
    fix: str
    then: str = "The job ends as failed. What was saved is kept: `brightrun train --resume JOB`."


ENDS = "The job ends as failed before a pod has cost anything."
# What a pod sees, alone or after the control plane.
BILLED = (
    "The job ends as failed before it trains, or goes on. Found here it has cost nothing; a rented "
    "pod that finds it is billed for its start. What was saved is kept: "
    "`brightrun train --resume JOB`."
)
NEW_POD = "A new pod resumes from the newest complete checkpoint, up to the retry limit."
GOES_ON = "A warning; the job goes on."

INPUT: dict[str, Fault] = {
    # Data
    "bad_template": Fault(
        "Chat template differs from the model's own",
        "configuration",
        "the base model's tokenizer renders conversations unlike our template for its family",
        "use an Instruct model of Llama 3, 3.1, 3.2, 3.3 or ChatML, or an unchanged tokenizer",
        ENDS,
    ),
    "template_unproven": Fault(
        "Base model without a chat template of its own",
        "configuration",
        "its files hold none, so there is nothing to compare ours with",
        "see with `brightrun preview` that the format is the model's, or use an Instruct model "
        "with its template",
        GOES_ON,
    ),
    "no_supervised_tokens": Fault(
        "Nothing to train on",
        "dataset",
        "the chat template marks no assistant text, or every answer is empty",
        "look at the file with `brightrun preview`",
        ENDS,
    ),
    "supervised_share": Fault(
        "Implausible share of trained tokens",
        "dataset",
        "the mask covers nearly nothing or nearly everything: roles or template are wrong",
        "look at the file with `brightrun preview`; compare with `brightrun validate`",
        ENDS,
    ),
    "too_long": Fault(
        "Conversation longer than the context",
        "dataset",
        "nothing is ever cut silently",
        "raise --set max_length (at most to the base model's context), or split with "
        "--set too_long=split",
        ENDS,
    ),
    "data_changed": Fault(
        "Snapshot or spec has another hash",
        "storage",
        "a file of the run folder was changed or damaged after the job was planned",
        "start a new job from the training file",
    ),
    "invalid_file": Fault(
        "Training file with defects",
        "dataset",
        "the file was changed by hand, cut off, or written by another version of its source",
        "run `brightrun validate` on it: it lists every defect with its place and mend",
        ENDS,
    ),
    "file_changed": Fault(
        "Training file changed since it was validated",
        "dataset",
        "it was written again, or another quality filter was given than at validation",
        "validate it again, then start the job again",
        ENDS,
    ),
    "cannot_split": Fault(
        "Too few conversations to hold one out",
        "dataset",
        "at least one is trained on and at least one other is held out",
        "add conversations, remove copies, or loosen the quality filter",
        ENDS,
    ),
    "suite_unusable": Fault(
        "A suite of expectations cannot be used",
        "configuration",
        "a file in expectations/suites is missing, or names a column that there is not",
        "restore it from the repository",
        ENDS,
    ),
    "token_count": Fault(
        "Other tokens trained on than counted",
        "trainer",
        "rows were lost or doubled between the snapshot and the training loop",
        "report it with the attempt's log: this is a fault of the trainer, not of the data",
    ),
    # Base model
    "model_missing": Fault(
        "Base model not found",
        "configuration",
        "no network and not in the cache, or no such model",
        "check the name; prepare it where the network is: `python -m trainer prepare NAME`",
        BILLED,
    ),
    "model_gated": Fault(
        "Gated model without access",
        "configuration",
        "the model's licence was not accepted, or HF_TOKEN is missing or has no access",
        "accept the licence on the model's page, set HF_TOKEN on the pod, prepare again",
        BILLED,
    ),
    "model_changed": Fault(
        "Base model has another hash",
        "configuration",
        "the folder holds other weights than those the job was planned with",
        "prepare the model again, or start a new job",
        BILLED,
    ),
    "download_damaged": Fault(
        "Base model damaged on its way",
        "storage",
        "the download or the disk damaged it",
        "delete the named file and prepare the model again: the other files are kept",
        BILLED,
    ),
    "model_unusable": Fault(
        "Base model cannot be used",
        "configuration",
        "files are missing, the architecture is unknown, or its chat format is not supported",
        "give a complete folder made by save_pretrained of a Llama 3 or ChatML Instruct model",
        BILLED,
    ),
    "stored_precision": Fault(
        "4-bit files, another precision asked for",
        "configuration",
        "what quantisation took away cannot be had back",
        "use --set precision=nf4, or the unquantised base model",
        BILLED,
    ),
    "model_dimensions": Fault(
        "Dimensions that 4-bit layers cannot have here",
        "configuration",
        "4-bit layers on a CPU need dimensions that are multiples of 64",
        "use --set precision=bf16",
        BILLED,
    ),
    "packing_unsupported": Fault(
        "Packing without a variable-length attention kernel",
        "configuration",
        "packed conversations would see each other, or waste more than they save",
        "leave packing out or use --set packing=False, or use an image with flash-attention",
        BILLED,
    ),
    "bad_choice": Fault(
        "A choice in BRIGHTRUN_CHOICES that cannot be",
        "configuration",
        "it has no such name or value, or this pod's GPU, libraries or processes do not allow it",
        "leave it out: the pod then chooses by itself, and its events say why",
        BILLED,
    ),
    "pod_too_small": Fault(
        "Not enough memory to load the base model",
        "configuration",
        "the pod's GPUs, or its host while loading, hold less than the model takes",
        "take a pod with more memory, precision nf4, or a smaller model",
        BILLED,
    ),
}
