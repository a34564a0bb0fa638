# syntax=docker/dockerfile:1.7
# One file, one image for each kind of machine:
#   docker build --target worker-cpu -t fakesieve-worker-cpu .
#   docker build --target worker-gpu -t fakesieve-worker-gpu .
#   docker build --target api -t fakesieve-api .
# worker-cpu also runs migrate, relay, reconciler, sender and the commands of people: the base install has all.
# The images hold no secret and no setting of a place: those come as FAKESIEVE_* variables.

ARG PYTHON_IMAGE=python:3.11-slim-bookworm
# Ubuntu 24.04 with Python 3.12, CUDA and TensorRT. Monthly tags; take the one that your driver can run.
ARG TENSORRT_IMAGE=nvcr.io/nvidia/tensorrt:25.12-py3

# The wheel: our code with models and migrations in it, so that the images need no source tree.
FROM ${PYTHON_IMAGE} AS wheel
WORKDIR /src
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY engine engine
COPY fakesieve fakesieve
COPY workers workers
COPY api api
COPY migrations migrations
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /dist .

FROM ${PYTHON_IMAGE} AS worker-cpu
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp FAKESIEVE_SCRATCH_DIR=/scratch
# A number and not only a name: Kubernetes can check that it is not root. A volume takes over /scratch's owner.
RUN groupadd --gid 10001 fakesieve \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin fakesieve \
    && install --directory --owner=10001 --group=10001 --mode=0700 /scratch
RUN --mount=type=bind,source=constraints.txt,target=/tmp/constraints.txt \
    --mount=type=bind,from=wheel,source=/dist,target=/tmp/dist \
    pip install --no-cache-dir --constraint /tmp/constraints.txt /tmp/dist/*.whl
WORKDIR /scratch
USER 10001:10001
ENTRYPOINT ["fakesieve"]
CMD ["worker"]

# What answers requests: the same code, listening to other containers, behind a proxy that brings TLS.
FROM worker-cpu AS api
ENV FAKESIEVE_API_HOST=0.0.0.0
EXPOSE 8080
CMD ["serve"]

# hadolint ignore=DL3006 # the tag stands in the argument above
FROM ${TENSORRT_IMAGE} AS worker-gpu
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp FAKESIEVE_SCRATCH_DIR=/scratch \
    PATH=/opt/fakesieve/bin:${PATH}
RUN groupadd --gid 10001 fakesieve \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin fakesieve \
    && install --directory --owner=10001 --group=10001 --mode=0700 /scratch
# An environment of its own keeps our pins apart from the image's packages, whose tensorrt it still sees.
RUN --mount=type=bind,source=constraints.txt,target=/tmp/constraints.txt \
    --mount=type=bind,from=wheel,source=/dist,target=/tmp/dist \
    python3 -m venv --without-pip --system-site-packages /opt/fakesieve \
    && python3 -m pip --python /opt/fakesieve/bin/python install --no-cache-dir \
        --constraint /tmp/constraints.txt /tmp/dist/*.whl \
    # The same module with the providers for CUDA and TensorRT, so it must not lie beside the other.
    && python3 -m pip --python /opt/fakesieve/bin/python uninstall --yes onnxruntime \
    && python3 -m pip --python /opt/fakesieve/bin/python install --no-cache-dir \
        --constraint /tmp/constraints.txt "onnxruntime-gpu[cuda,cudnn]==1.31.1"
# By name, so that a host whose GPU does not work refuses to start and does not crawl on its processor.
ENV FAKESIEVE_ENGINE=onnxruntime-cuda
WORKDIR /scratch
USER 10001:10001
# The image's own entry point prints a banner and starts a shell.
ENTRYPOINT ["fakesieve"]
CMD ["worker"]
