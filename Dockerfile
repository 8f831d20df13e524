# The programs' images: docker build --target exporter|loadgen|agent . (and pgbouncer, which is Debian's with our settings).
# Built and run on the same Debian: the libraries that the programs are linked with come from the same packages.
ARG DEBIAN=12.12-slim

FROM debian:${DEBIAN} AS build
WORKDIR /src
COPY packages.txt ./
RUN apt-get update \
 && awk '$1 == "build" { print $2 }' packages.txt | xargs apt-get install --yes --no-install-recommends \
 && rm -rf /var/lib/apt/lists/*
COPY . .
RUN cmake --preset release -DPGRM_TESTS=OFF \
 && cmake --build --preset release --target exporter loadgen agent \
 && strip build/release/bin/*
# Which packages hold the libraries: asked, not listed, since their names change from one Debian to the next.
RUN ldd build/release/bin/* | awk '$2 == "=>" { n = split($3, path, "/"); print "*/" path[n] }' | sort -u \
  | xargs dpkg-query --search | cut -d: -f1 | sort -u >runtime-packages && test -s runtime-packages


FROM debian:${DEBIAN} AS runtime
COPY --from=build /src/runtime-packages /tmp/
RUN apt-get update \
 && xargs --arg-file /tmp/runtime-packages apt-get install --yes --no-install-recommends curl ca-certificates \
 && rm -rf /var/lib/apt/lists/* /tmp/runtime-packages


FROM runtime AS exporter
RUN useradd --uid 10001 --no-create-home --home-dir /nonexistent exporter
COPY --from=build /src/build/release/bin/exporter /usr/local/bin/
USER 10001
ENV EXPORTER_LISTEN=0.0.0.0:9717
EXPOSE 9717
# Ready means: the last observation is fresh.
HEALTHCHECK --interval=3s --timeout=3s --retries=10 CMD ["curl", "-fsS", "-o", "/dev/null", "http://127.0.0.1:9717/readyz"]
ENTRYPOINT ["exporter"]


FROM runtime AS loadgen
RUN useradd --uid 10002 --no-create-home --home-dir /nonexistent loadgen \
 && install -d -o loadgen -g loadgen -m 0700 /var/lib/loadgen
COPY --from=build /src/build/release/bin/loadgen /usr/local/bin/
USER 10002
ENV LOADGEN_LISTEN=0.0.0.0:9718
EXPOSE 9718
VOLUME /var/lib/loadgen
ENTRYPOINT ["loadgen"]


FROM runtime AS agent
RUN useradd --uid 10003 --no-create-home --home-dir /nonexistent agent \
 && install -d -o agent -g agent -m 0700 /var/lib/agent
COPY --from=build /src/build/release/bin/agent /usr/local/bin/
USER 10003
ENV STATE_DIR=/var/lib/agent
VOLUME /var/lib/agent
ENTRYPOINT ["agent"]


FROM debian:${DEBIAN} AS pgbouncer
RUN apt-get update \
 && apt-get install --yes --no-install-recommends pgbouncer postgresql-client \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10004 --no-create-home --home-dir /nonexistent pooler
USER 10004
EXPOSE 6432
ENTRYPOINT ["pgbouncer"]
CMD ["/etc/pgbouncer/pgbouncer.ini"]
