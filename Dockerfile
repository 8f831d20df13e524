# The images: docker build --target exporter|loadgen|agent|pgbouncer .
# A layer of its own for the tools, for what the programs share and for each program: a change is compiled where it was made,
# and ccache keeps what was compiled before. An image holds its program, the libraries that it is linked with, and busybox:
# for its health check, for the compose stack's scripts, and for a look inside. Nothing in it depends on the platform.
ARG DEBIAN=12.12-slim

FROM debian:${DEBIAN} AS tools
WORKDIR /src
COPY packages.txt ./
RUN apt-get update \
 && awk '$1 == "build" { print $2 }' packages.txt | xargs apt-get install --yes --no-install-recommends \
 && apt-get install --yes --no-install-recommends busybox-static ca-certificates ccache \
 && rm -rf /var/lib/apt/lists/*
COPY docker/image /usr/local/bin/
ENV CCACHE_DIR=/var/cache/ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache


FROM tools AS core
COPY CMakeLists.txt CMakePresets.json ./
COPY core core
COPY postgresql/roles.sql postgresql/
RUN --mount=type=cache,id=replica-migration-ccache,target=/var/cache/ccache \
    mkdir exporter loadgen agent && touch exporter/CMakeLists.txt loadgen/CMakeLists.txt agent/CMakeLists.txt \
 && cmake --preset release -DPGRM_TESTS=OFF && cmake --build --preset release


FROM core AS exporter-image
COPY exporter exporter
RUN --mount=type=cache,id=replica-migration-ccache,target=/var/cache/ccache \
    cmake --preset release && cmake --build --preset release --target exporter \
 && image exporter 10001 build/release/bin/exporter

FROM core AS loadgen-image
COPY loadgen loadgen
RUN --mount=type=cache,id=replica-migration-ccache,target=/var/cache/ccache \
    cmake --preset release && cmake --build --preset release --target loadgen \
 && image loadgen 10002 build/release/bin/loadgen

FROM core AS agent-image
COPY agent agent
RUN --mount=type=cache,id=replica-migration-ccache,target=/var/cache/ccache \
    cmake --preset release && cmake --build --preset release --target agent \
 && image agent 10003 build/release/bin/agent

# Debian's, with our settings.
FROM tools AS pgbouncer-image
RUN apt-get update \
 && apt-get install --yes --no-install-recommends pgbouncer postgresql-client \
 && rm -rf /var/lib/apt/lists/* \
 && image pooler 10004 /usr/sbin/pgbouncer /usr/lib/postgresql/*/bin/psql


FROM scratch AS exporter
COPY --from=exporter-image /image /
USER 10001:10001
ENV EXPORTER_LISTEN=0.0.0.0:9717
EXPOSE 9717
# Ready means: the last observation is fresh.
HEALTHCHECK --interval=3s --timeout=3s --retries=10 --start-period=5m \
  CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:9717/readyz"]
ENTRYPOINT ["exporter"]


FROM scratch AS loadgen
COPY --from=loadgen-image /image /
COPY --from=loadgen-image --chown=10002:10002 /state /var/lib/loadgen
USER 10002:10002
ENV LOADGEN_LISTEN=0.0.0.0:9718
EXPOSE 9718
VOLUME /var/lib/loadgen
ENTRYPOINT ["loadgen"]


FROM scratch AS agent
COPY --from=agent-image /image /
COPY --from=agent-image --chown=10003:10003 /state /var/lib/agent
USER 10003:10003
ENV STATE_DIR=/var/lib/agent
VOLUME /var/lib/agent
ENTRYPOINT ["agent"]


FROM scratch AS pgbouncer
COPY --from=pgbouncer-image /image /
USER 10004:10004
EXPOSE 6432
ENTRYPOINT ["pgbouncer"]
CMD ["/etc/pgbouncer/pgbouncer.ini"]
