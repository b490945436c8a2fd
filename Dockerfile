# lineup on CPUs: rootless, with the public CLIP inside, so that a container needs no network.
#   docker build -t lineup .
#   docker run --rm --network none -v "$PWD:/work:ro" lineup attribute image.png
# Other extras: --build-arg EXTRAS=parquet,watch
FROM python:3.12-slim-bookworm AS build
ARG EXTRAS=parquet,watch
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 LINEUP_HOME=/opt/models
WORKDIR /src
COPY . .
# The tools that make the bundle of the CLIP (onnx and others) stay behind in this stage, and so does
# ONNX Runtime for GPUs: both builds own the module, and the one for CPUs is a fraction of its size.
RUN python -m venv /opt/pulling \
    && /opt/pulling/bin/pip install ".[pull]" \
    && /opt/pulling/bin/lineup models pull clip-vit-b-16 \
    && python -m venv /opt/lineup \
    && /opt/lineup/bin/pip install ".[${EXTRAS}]" \
    && /opt/lineup/bin/pip uninstall --yes onnxruntime-gpu \
    && /opt/lineup/bin/pip install onnxruntime \
    && /opt/lineup/bin/pip uninstall --yes pip

FROM python:3.12-slim-bookworm
LABEL org.opencontainers.image.source="https://github.com/lineup-forensics/lineup" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --create-home --uid 10001 lineup
COPY --from=build /opt/lineup /opt/lineup
# Enrolments and what is kept for speed go here: mount a volume to keep them.
COPY --from=build --chown=lineup:lineup /opt/models /home/lineup/models
ENV PATH=/opt/lineup/bin:$PATH LINEUP_HOME=/home/lineup/models PYTHONUNBUFFERED=1
# By number, so that a host can tell that it is not root.
USER 10001
WORKDIR /work
ENTRYPOINT ["lineup"]
CMD ["--help"]
