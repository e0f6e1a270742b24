#!/usr/bin/env bash
# Build the trainer image, push it, and write its name by digest where settings read it.
#
#   docker login ghcr.io
#   deployments/build-image.sh ghcr.io/OWNER/brightrun-trainer
#
# FLASH_ATTN: a wheel of flash-attn to put in, by hash (docs/image.md).
# CUDA_BASE, PYTHON_BASE: other bases, by digest. BUDGET_GB: the most that a pod has to pull (5.5).
set -euo pipefail
cd "$(dirname "$0")/.."

refuse() {
  echo "build-image: $1" >&2
  exit 2
}

name=${1:-}
[[ $name =~ ^[a-z0-9.:-]+/[a-z0-9._/-]+$ ]] ||
  refuse "'$name' is no REGISTRY/NAME without a tag, like ghcr.io/OWNER/brightrun-trainer"
file=deployments/trainer.Dockerfile
budget_gb=${BUDGET_GB:-5.5}

# A base's name by digest, from the environment or from the Dockerfile.
base() {
  local found=${!1:-}
  [[ -n $found ]] || found=$(sed -n "s/^ARG $1=//p" "$file")
  [[ $found =~ @sha256:[0-9a-f]{64}$ ]] ||
    refuse "$1 is '$found': a tag may be another image tomorrow; name it by digest, NAME:TAG@sha256:..."
  echo "$found"
}

cuda=$(base CUDA_BASE)
python=$(base PYTHON_BASE)
flash=${FLASH_ATTN:-}
[[ -z $flash || $flash =~ ^https://[^[:space:]]+\.whl#sha256=[0-9a-f]{64}$ ]] ||
  refuse "FLASH_ATTN is '$flash': name a wheel by hash, https://.../flash_attn-....whl#sha256=..."
inside=(brightrun trainer constraints.txt deployments)
[[ -z $(git status --porcelain -- "${inside[@]}") ]] ||
  refuse "uncommitted changes in ${inside[*]}: commit them, so that the image's revision says what is in it"
revision=$(git rev-parse HEAD)

metadata=$(mktemp)
trap 'rm -f "$metadata"' EXIT
docker buildx build . --file "$file" --platform linux/amd64 --provenance=false --push \
  --build-arg "CUDA_BASE=$cuda" --build-arg "PYTHON_BASE=$python" \
  --build-arg "FLASH_ATTN=$flash" --build-arg "REVISION=$revision" --tag "$name:${revision:0:12}" --metadata-file "$metadata"

digest=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["containerimage.digest"])' "$metadata")
[[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || refuse "the builder told no digest ('$digest'): use docker buildx 0.10 or newer"

manifest=$(docker buildx imagetools inspect --raw "$name@$digest") || refuse "$name@$digest was pushed, but its size cannot be read: log in to the registry and run this again"
size=$(python3 -c '
import json, sys
print(sum(layer["size"] for layer in json.load(sys.stdin)["layers"]))
' <<< "$manifest") || refuse "the registry described no layers of $name@$digest: its size cannot be read"
python3 -c '
import sys
size, budget = float(sys.argv[1]) / 1e9, float(sys.argv[2])
print(f"compressed: {size:.2f} GB of at most {budget:g} GB")
sys.exit(size > budget)
' "$size" "$budget_gb" || refuse "too large, and not written to settings: every start of a pod would pull it (BUDGET_GB)"

echo "$name@$digest" > deployments/trainer-image
echo "$name@$digest is in deployments/trainer-image: commit it. Pods use it unless BRIGHTRUN_RUNPOD_IMAGE is set."
