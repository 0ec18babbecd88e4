# The image of a session container: containerboot, Node, Git and OpenSSH.
#
#     docker build -t webordinary-session .        (or: make image)
#
# Another version of Node: --build-arg NODE_IMAGE=node:24-bookworm-slim
ARG GO_IMAGE=golang:1.26-bookworm
ARG NODE_IMAGE=node:22-bookworm-slim

FROM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
COPY cmd/containerboot cmd/containerboot
COPY configstore configstore
COPY containerboot containerboot
COPY internal/dynamo internal/dynamo
RUN CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o /containerboot ./cmd/containerboot

FROM ${NODE_IMAGE}
RUN apt-get update && \
    apt-get install --yes --no-install-recommends ca-certificates git openssh-client && \
    rm -rf /var/lib/apt/lists/*
# For the client's code. containerboot itself is root, with no more of root's powers than
# to start something as this user, and to care for its files.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin site
# Where the runner mounts the volumes of the session and of the client's caches.
RUN mkdir /session /cache
# A folder of its own lies around the workspace: what is beside it is containerboot's.
ENV WORKSPACE_PATH=/session/workspace
COPY --from=build /containerboot /usr/local/bin/containerboot
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/containerboot"]
