# syntax=docker/dockerfile:1
# The control plane: Prefect's server and its services, `brightrun`, and stations. No secret inside.
# No torch either: pods have it, and what of a job needs it here is in docs/team.md.
# Not built where it was written: no Docker there.
ARG PYTHON_BASE=python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b
FROM ${PYTHON_BASE}
WORKDIR /app
COPY constraints.txt pyproject.toml README.md ./
RUN pip install --no-cache-dir --disable-pip-version-check -c constraints.txt -e '.[production]'
COPY . .
RUN useradd --system --create-home --uid 1000 brightrun \
 && mkdir /state \
 && chown brightrun /state
USER 1000
ENV BRIGHTRUN_HOME=/state
VOLUME /state
HEALTHCHECK NONE
CMD ["python", "-m", "flows.station"]
