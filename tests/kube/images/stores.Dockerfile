# Postgres, Valkey and Kafka as Debian, PyPI and Maven distribute them. One image has all three
# names: the layers are stored once.
FROM docker.io/library/python:3.11-slim-bookworm
RUN apt-get update -qq && \
    mkdir -p /etc/postgresql-common && \
    echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf && \
    groupadd --gid 999 postgres && useradd --uid 999 --gid 999 --home-dir /var/lib/postgresql postgres && \
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends \
        postgresql-15 postgresql-client-15 openjdk-17-jre-headless procps && \
    rm -rf /var/lib/apt/lists/*
ENV PATH=/usr/lib/postgresql/15/bin:/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8
COPY valkey-server valkey-cli /usr/local/bin/
COPY libs /opt/kafka/libs
COPY stores-log4j2.yaml /opt/kafka/log4j2.yaml
COPY --chmod=0755 stores-postgres.sh /usr/local/bin/
# The server's signal for a fast shutdown, as in the official image.
STOPSIGNAL SIGINT
ENTRYPOINT ["stores-postgres.sh"]
CMD ["postgres"]
