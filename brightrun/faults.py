"""Every failure of a pod that has a name: what it means, its usual cause, what to do.

`brightrun.faultpage` writes them as the page that errors point to.
"""

from __future__ import annotations

from brightrun.faults_input import GOES_ON, INPUT, NEW_POD, Fault

PAGE = "docs/errors.md"

FAULTS: dict[str, Fault] = {
    **INPUT,
    # Training
    "out_of_memory": Fault(
        "Out of memory",
        "out_of_memory",
        "model, activations of the longest conversation and optimizer do not fit",
        "take the suggested adjustment, or a pod with more memory",
        "The step is done again in smaller pieces: the same global batch and the same result up to "
        "rounding, dropout included. Only when one sequence alone does not fit the job ends as "
        "failed.",
    ),
    "nan_loss": Fault(
        "Loss is not a number",
        "trainer",
        "the learning rate is too high for this model, or a row is broken",
        "halve the learning rate; the rows of the step are named in the error",
    ),
    "divergence": Fault(
        "Training diverges",
        "trainer",
        "the loss stays far above where it was: the learning rate is too high",
        "halve the learning rate and start a new job",
    ),
    "loss_jump": Fault(
        "Loss does not go on where it was",
        "trainer",
        "after a resume the loss of a fixed short text is not the one stored with the checkpoint, "
        "or the first losses leave its band: another base model, other data or a damaged adapter",
        "compare the hashes in the report's provenance; resume from an older checkpoint",
    ),
    "stall": Fault(
        "Training stands still",
        "trainer",
        "no step for ten times the usual one: a hung kernel, storage or machine",
        "resume the job; if it stalls at the same step, read the attempt's log",
    ),
    "adapter_incompatible": Fault(
        "Adapter does not fit the model",
        "trainer",
        "it was trained with another rank, other target modules or another base model",
        "use the base model and settings that the adapter's config names",
    ),
    "delivery_script": Fault(
        "inference.py cannot load what was trained",
        "trainer",
        "the delivered script failed on the adapter",
        "run it by hand on the adapter folder; the adapter itself is saved",
    ),
    "unmeasurable": Fault(
        "A measurement that is not defined for this tokenizer",
        "trainer",
        "it makes no token, or several, of what is measured as one",
        "use the base model with its own, unchanged tokenizer, or another base model",
        "The job ends as failed. The trained adapter is saved.",
    ),
    "package_missing": Fault(
        "The pod lacks a package",
        "trainer",
        "the image or environment was built without the trainer's packages",
        'pip install -e ".[trainer]", or rebuild the image',
    ),
    # Storage
    "disk_full": Fault(
        "The disk or the storage is full",
        "storage",
        "no space or quota is left for a checkpoint",
        "free space or raise the quota, then resume the job",
    ),
    "storage_denied": Fault(
        "The storage refuses access",
        "storage",
        "wrong or withdrawn credentials, permissions that do not cover this folder, or a clock "
        "that is minutes off",
        "mend key, policy (read, write, delete under jobs/) or clock, then resume the job",
    ),
    "storage_expired": Fault(
        "The storage credentials have expired",
        "storage",
        "the job outlived its session token",
        "give the pod fresh credentials, then resume the job",
    ),
    "storage_read_only": Fault(
        "The storage is read-only",
        "storage",
        "it was mounted so, or the disk has errors",
        "mount it writable or replace the disk, then resume the job",
    ),
    "storage_gone": Fault(
        "The bucket or folder of the run does not exist any more",
        "storage",
        "it was deleted, renamed or unmounted, or STORAGE_URL names another one",
        "restore it or mend STORAGE_URL; without its checkpoints the job starts from step 0",
    ),
    "storage_away": Fault(
        "The storage cannot be reached",
        "storage",
        "the network or the storage service is down",
        "nothing if it comes back; else check the storage, then resume the job",
        "Training goes on; the job ends only when nothing could be saved for a long time.",
    ),
    "storage_file": Fault(
        "A file cannot be read or written",
        "storage",
        "it is missing, its permissions are wrong, or the storage is away",
        "repair the access, then resume the job",
    ),
    "damaged_checkpoint": Fault(
        "Damaged checkpoint",
        "storage",
        "an upload or the storage damaged it",
        "nothing: the checkpoint before it is used",
        GOES_ON,
    ),
    "inexact_resume": Fault(
        "Resume is not bit-exact",
        "trainer",
        "this attempt runs on another machine, with other libraries or another version of the "
        "trainer's numerics than the last, computes otherwise (number format, attention, Liger, no "
        "memory to keep 4-bit weights unpacked) or divides its steps otherwise; or a kernel of "
        "this GPU knows no fixed order of adding, and each run rounds otherwise",
        "for an exact run use the same pod type, image and thread count, and an image whose "
        "kernels have a fixed order",
        GOES_ON,
    ),
    # Limits
    "time_limit": Fault(
        "A pod's time limit is reached",
        "interruption",
        "its hours are over: what the job's hard limit pays for at its price, or the longest that "
        "a pod may run (BRIGHTRUN_LONGEST_POD_HOURS)",
        "`brightrun train --resume JOB` asks for more money and goes on from the checkpoint",
        "The pod saves a checkpoint and ends by itself; the job ends as cancelled.",
    ),
    "lease_expired": Fault(
        "Lease expired",
        "interruption",
        "nobody renewed it: the control plane is dead, asleep, or cut off from the storage",
        "`brightrun train --resume JOB` goes on from the checkpoint",
        "The pod saves a checkpoint and ends by itself; a flow that still lives rents a new one.",
    ),
    "killed": Fault(
        "Pods lost again and again without a new step",
        "interruption",
        "the kernel killed them for want of memory, which leaves no word (status 137, signal 9); "
        "else a fault of the trainer",
        "`brightrun events JOB --type heartbeat` shows the memory used and free: where little was "
        "free at the end, take a machine with more memory, fewer processes or a smaller model, or "
        "retry with --set gradient_checkpointing=true or precision=nf4; else read the last log",
        "The job ends as failed after the second such pod (later where pods are often taken away): "
        "`brightrun train --resume JOB` goes on from the newest checkpoint.",
    ),
    # GPU
    "gpu_lost": Fault(
        "GPU lost",
        "spot_interrupted",
        "the GPU fell off the bus (Xid 79), or its driver no longer answers",
        "nothing; a host with a defective GPU should be reported to the provider",
        NEW_POD,
    ),
    "gpu_ecc": Fault(
        "GPU memory error",
        "spot_interrupted",
        "an uncorrectable ECC error (Xid 48, 63, 64, 94 or 95): the GPU's memory is defective",
        "nothing; report the host to the provider",
        NEW_POD,
    ),
    "gpu_xid": Fault(
        "GPU fault",
        "spot_interrupted",
        "the driver reported an Xid error",
        "look the number up in NVIDIA's Xid list; if it comes back, it is the program",
        NEW_POD,
    ),
    "nccl": Fault(
        "GPUs cannot talk to each other",
        "spot_interrupted",
        "one process or link failed, so NCCL's collective operation ended or timed out",
        "nothing at first; if it comes back, use one GPU or another machine type",
        NEW_POD,
    ),
    "cuda": Fault(
        "CUDA error",
        "trainer",
        "a kernel read memory it may not, or an assertion on the GPU failed",
        "resume with CUDA_LAUNCH_BLOCKING=1 to see where; report it with the log",
    ),
    "cuda_driver": Fault(
        "CUDA does not fit this GPU or driver",
        "configuration",
        "the image's CUDA needs a newer driver, or was not built for this GPU",
        "rent a machine with a newer CUDA, or use another image",
    ),
    "trainer": Fault(
        "Any other fault",
        "trainer",
        "a fault in the trainer or in a library; the traceback is in the pod's log",
        "read the last log segment of the attempt; the newest checkpoint is kept",
    ),
}


def anchor(name: str) -> str:
    """Where a fault is explained, relative to the checkout."""
    return f"{PAGE}#{name.replace('_', '-')}"
