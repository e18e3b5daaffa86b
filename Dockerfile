# One image per program; PROGRAM says which. compose.yaml builds the four services; everything in one process is
#   docker build -t order-system .
#   docker run --rm -p 127.0.0.1:8080-8083:8080-8083 -e HTTP_HOST=0.0.0.0 -e AUTH=off -v order-system:/data order-system

FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
# All programs at once: the step is the same for every image, so it runs once and the images share it.
# The target directory outlives the step, and cargo tells what changed by file times. Sources get theirs when they are
# saved or checked out, which may be before the last build took its turn; touched, they are always compiled.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,sharing=locked \
    find migrations services shared tests -type f -exec touch {} + \
    && cargo build --release --locked -p order-service -p payment-service -p inventory-service \
       -p notification-service -p order-system -p payment-sandbox \
    && mkdir /programs \
    && cd target/release \
    && install --strip --target-directory /programs \
       order-service payment-service inventory-service notification-service order-system payment-sandbox

FROM debian:bookworm-slim
# Whom to trust behind TLS: mail servers and webhooks.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --home-dir /data --no-log-init app && install --directory --owner app --group app /data
# Whom to trust at the other end of https: the keys that tokens are signed with are fetched over it.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
ARG PROGRAM=order-system
COPY --from=build /programs/${PROGRAM} /usr/local/bin/program
# A missing library is noticed here, not at the first start.
RUN program --version
USER 10001
# Where order-system keeps its files; the services keep none.
ENV DATA_DIR=/data
ENTRYPOINT ["program"]
