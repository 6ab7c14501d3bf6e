# Every program of customer-sync in one image; a container names the one it runs. And the gateway of compose.yaml.

# The dependencies, in a layer of their own: it changes with the manifests, and not with the source.
FROM rust:1.95-bookworm AS dependencies
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY api/Cargo.toml api/
COPY customer-sync/Cargo.toml customer-sync/
COPY entity/Cargo.toml entity/
COPY migration/Cargo.toml migration/
COPY outbox-relay/Cargo.toml outbox-relay/
COPY platform/Cargo.toml platform/
COPY stripe-sandbox/Cargo.toml stripe-sandbox/
COPY sync-worker/Cargo.toml sync-worker/
# Cargo wants the sources that the manifests name: empty ones.
RUN for crate in api customer-sync entity migration outbox-relay platform stripe-sandbox sync-worker; do \
        mkdir -p "$crate/src" && touch "$crate/src/lib.rs" || exit 1; \
    done \
    && for main in api/src customer-sync/src outbox-relay/src stripe-sandbox/src sync-worker/src \
        customer-sync/examples/chaos customer-sync/examples/bench_downsync; do \
        mkdir -p "$main" && echo 'fn main() {}' > "$main/main.rs" || exit 1; \
    done \
    && mkdir -p customer-sync/src/bin && echo 'fn main() {}' > customer-sync/src/bin/migration.rs \
    && cargo build --release --locked --workspace --bins \
    # What is left of the empty crates; customer-sync has no library.
    && rm -f customer-sync/src/lib.rs

FROM dependencies AS build
COPY . .
# Cargo compares times, and the empty sources were compiled after these were written.
RUN find . -path ./target -prune -o -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --workspace --bins \
    && for program in api customer-sync migration outbox-relay stripe-sandbox sync-worker; do \
        install -D "target/release/$program" "/programs/$program" || exit 1; \
    done

# The API's port in front of several replicas.
FROM debian:bookworm-slim AS gateway
RUN apt-get update \
    && apt-get install -y --no-install-recommends haproxy \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin
COPY gateway/haproxy.cfg /etc/haproxy/haproxy.cfg
USER haproxy
# Requests that are under way are finished.
STOPSIGNAL SIGUSR1
EXPOSE 8000
CMD ["haproxy", "-db", "-f", "/etc/haproxy/haproxy.cfg"]

FROM debian:bookworm-slim AS programs
LABEL org.opencontainers.image.title="customer-sync" \
    org.opencontainers.image.description="Keeps customers in a database and in Stripe in step" \
    org.opencontainers.image.licenses="MIT OR Apache-2.0"
# The certificates are for calling Stripe.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin \
    && useradd --uid 10001 --user-group --no-log-init --home-dir /var/lib/customer-sync --create-home \
        --shell /usr/sbin/nologin customer-sync
COPY --from=build /programs/ /usr/local/bin/
# The only place it writes to, and only the programs that keep files: SQLite's, and the sandbox's account.
ENV DATA_DIR=/var/lib/customer-sync
WORKDIR /var/lib/customer-sync
USER 10001:10001
STOPSIGNAL SIGTERM
EXPOSE 8000
CMD ["customer-sync"]
