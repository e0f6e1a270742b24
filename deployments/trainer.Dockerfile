# syntax=docker/dockerfile:1
# The pod: Python 3.11, torch with its own CUDA libraries, trainer/ and brightrun/. No model.
# Built and pushed by deployments/build-image.sh, which refuses a base that is only a tag.
# Size budget: 5.5 GB compressed (build-image.sh measures it): a pull is part of every pod's start.
ARG PYTHON_BASE=python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b
# -base is enough: torch's wheels bring CUDA 13's libraries, Triton brings ptxas.
ARG CUDA_BASE=nvidia/cuda:13.0.1-base-ubuntu24.04@sha256:f8ef28f579ea42a44b415d2c5d46f788e6a9b395c6c83f2929416e1fc192c143

FROM ${PYTHON_BASE} AS environment
WORKDIR /build
COPY constraints.txt deployments/trainer-requirements.txt ./
RUN python -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check \
      -c constraints.txt -r trainer-requirements.txt \
 && /opt/venv/bin/pip check \
 && /opt/venv/bin/pip freeze > /opt/venv/versions.txt \
 && /opt/venv/bin/python -c "import torch; assert torch.version.cuda, 'this torch has no CUDA'"

# A wheel of flash-attn made for this torch, CUDA and Python 3.11: URL#sha256=HASH (docs/image.md).
ARG FLASH_ATTN=
RUN if [ -n "$FLASH_ATTN" ]; then \
      /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check \
        -c constraints.txt "flash-attn @ $FLASH_ATTN" \
      && /opt/venv/bin/pip check \
      && /opt/venv/bin/pip freeze > /opt/venv/versions.txt; \
    fi

FROM ${CUDA_BASE} AS pod
# The C compiler and libc's headers are Triton's (Liger's kernels); the others are Python's own
# libraries. The archive keeps no old versions, so what the base's release has now is taken.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev \
      libbz2-1.0 libffi8 liblzma5 libreadline8t64 libsqlite3-0 libssl3t64 libuuid1 zlib1g \
 && rm -rf /var/lib/apt/lists/*
COPY --from=environment /usr/local/bin/python3.11 /usr/local/bin/python3.11
COPY --from=environment /usr/local/include/python3.11 /usr/local/include/python3.11
COPY --from=environment /usr/local/lib/python3.11 /usr/local/lib/python3.11
COPY --from=environment /usr/local/lib/libpython3.11.so.1.0 /usr/local/lib/
RUN ldconfig \
 && ln -s python3.11 /usr/local/bin/python3 \
 && ln -s python3.11 /usr/local/bin/python \
 && useradd --uid 10001 --create-home --shell /usr/sbin/nologin pod \
 && install -d -o pod -g pod /workspace /workspace/models
COPY --from=environment /opt/venv /opt/venv
COPY brightrun /app/brightrun
COPY trainer /app/trainer
COPY --chmod=0555 deployments/start-trainer.sh /app/start-trainer

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    BRIGHTRUN_HOME=/workspace \
    BRIGHTRUN_MODELS=/workspace/models \
    BRIGHTRUN_ALIVE=/tmp/brightrun-alive \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /app
USER 10001
# Whatever cannot be loaded stops the build, not a rented pod.
RUN python -c "import bz2, ctypes, lzma, sqlite3, ssl, sys; assert sys.version_info[:2] == (3, 11)" \
 && python -c "import s3fs, trainer.attempt, trainer.entry, trainer.merge, trainer.playground, trainer.prepare"

ARG REVISION=unknown
LABEL org.opencontainers.image.title="Bright Run trainer" \
      org.opencontainers.image.revision=${REVISION}
# The model cache; on RunPod the network volume is mounted here.
VOLUME ["/workspace"]
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --retries=3 \
  CMD ["python", "-m", "trainer.health"]
ENTRYPOINT ["/app/start-trainer"]
