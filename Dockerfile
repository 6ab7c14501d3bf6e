# Every program of customer-sync in one image; a container names the one it runs.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The crates and the compiled dependencies stay in the builder's caches: after a change of the source
# only the workspace is compiled again, and no stub sources are needed for that. What a cache mount
# holds is not in the layer, so the programs are copied out in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --workspace --bins \
    && for program in api customer-sync migration outbox-relay stripe-sandbox sync-worker; do \
        install -D "target/release/$program" "/programs/$program" || exit 1; \
    done

FROM debian:bookworm-slim
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
