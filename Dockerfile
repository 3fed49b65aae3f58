# syntax=docker/dockerfile:1
# One image for every pod: head, workers, migration, submitters. Both architectures:
#   docker buildx build --platform linux/amd64,linux/arm64 --tag ray-pipeline:0.1.0 .
# Nothing secret goes into it; settings come from the pods' environment.
ARG PYTHON=3.11
ARG DEBIAN=bookworm

FROM --platform=$BUILDPLATFORM golang:1.26-${DEBIAN} AS git-sync
ARG GIT_SYNC=v4.7.1
ARG TARGETOS
ARG TARGETARCH
RUN git clone --quiet --depth 1 --branch ${GIT_SYNC} https://github.com/kubernetes/git-sync /src
WORKDIR /src
RUN CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} \
    go build -trimpath -ldflags "-s -w" -o /git-sync .

FROM python:${PYTHON}-slim-${DEBIAN} AS build
# An argument from above the first stage exists in a stage only after it is named again.
ARG PYTHON
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY ray_pipeline ray_pipeline
COPY sql sql
COPY kuberay kuberay
RUN python -m venv /opt/venv && /opt/venv/bin/pip install --no-cache-dir .

FROM python:${PYTHON}-slim-${DEBIAN}
# bash and wget: KubeRay's commands and probes. git and ssh: git-sync. tini: children are reaped.
RUN apt-get update && \
    apt-get install --yes --no-install-recommends bash ca-certificates git openssh-client openssl \
        procps tini wget && \
    rm -rf /var/lib/apt/lists/* && \
    groupadd --gid 1000 ray && useradd --uid 1000 --gid 1000 --create-home --shell /bin/bash ray
COPY --from=git-sync /git-sync /usr/local/bin/git-sync
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/home/ray \
    PYTHONUNBUFFERED=1 \
    # The root is read-only in the cluster: no byte code beside the sources.
    PYTHONDONTWRITEBYTECODE=1 \
    RAY_USAGE_STATS_ENABLED=0
RUN python -m compileall -q /opt/venv/lib
USER 1000:1000
WORKDIR /home/ray
ENTRYPOINT ["tini", "--"]
CMD ["ray-pipeline", "--help"]
