# One image for every role: the arguments say which. For the classic builder and BuildKit alike.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
# The allocator is built with make, for pages as large as any kernel of the processor has them.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends make \
    && rm -rf /var/lib/apt/lists/* \
    && if [ "$(uname -m)" = aarch64 ]; then \
         printf '[env]\nJEMALLOC_SYS_WITH_LG_PAGE = "16"\n' > "$CARGO_HOME/config.toml"; \
       fi

# The dependencies alone first: this layer stays while only the sources change.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches \
    && for file in src/main benches/store benches/orchestrator benches/history; do \
         echo 'fn main() {}' > "$file.rs"; \
       done \
    && touch src/lib.rs \
    && cargo build --release --locked \
    && rm -rf src benches

# Demonstration files and workloads are compiled in.
COPY LICENSE ./
COPY config ./config
COPY blueprints ./blueprints
COPY benches ./benches
COPY src ./src
# The stand-ins above are newer than what was copied.
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked \
    && strip target/release/avtomatika \
    && mkdir -p /image/data /image/etc/avtomatika /image/licenses/swagger-ui \
    && cp -r config blueprints /image/etc/avtomatika/ \
    && cp LICENSE /image/licenses/ \
    && cd src/api/docs/swagger-ui \
    && cp LICENSE NOTICE swagger-ui-bundle.js.LICENSE.txt /image/licenses/swagger-ui/

# The C library, the public authorities and a user that is not root; no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/avtomatika /usr/local/bin/avtomatika
COPY --from=build /image/licenses /licenses
COPY --from=build --chown=65532:65532 /image/etc /etc
COPY --from=build --chown=65532:65532 /image/data /data
ENV AVTOMATIKA_CONFIG=/etc/avtomatika/config/avtomatika.toml \
    API_HOST=0.0.0.0 \
    DATA_DIR=/data \
    LOG_FORMAT=json
WORKDIR /data
VOLUME /data
# The API; and what METRICS_ADDR=:9100 opens in the other roles, for probes and figures.
EXPOSE 8080 9100
# Of the orchestrator; compose.yaml has the other roles' own.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["avtomatika", "health"]
ENTRYPOINT ["avtomatika"]
CMD ["orchestrator"]
