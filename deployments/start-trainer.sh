#!/bin/sh
# Entry point of the trainer image. Arguments are those of `python -m trainer` (none: the pod).
# Several processes, one for each GPU, are numbered and ended together by torchrun.
set -eu
if [ "$#" -eq 0 ] && [ "${BRIGHTRUN_PROCESSES:-1}" != 1 ]; then
  exec python -m torch.distributed.run --standalone --nproc-per-node "$BRIGHTRUN_PROCESSES" -m trainer
fi
exec python -m trainer "$@"
