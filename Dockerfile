# A board's side of dvfo in a container, for amd64 and arm64. It only calls install.sh.
#
#   docker build --tag dvfo .
#   docker run --rm --privileged --network host \
#       --volume /sys:/sys \
#       --volume /var/lib/dvfo:/var/lib/dvfo \
#       --volume "$PWD/models:/opt/dvfo/models:ro" \
#       --volume "$PWD/results/runs:/opt/dvfo/results/runs" \
#       dvfo deploy.py --board linux --run results/runs/RUN --listen 127.0.0.1:50060
#
# What each is for: --privileged and the machine's own /sys, since a container's is read-only;
# /var/lib/dvfo, so that the machine has one journal and one lock, inside and outside; the network,
# for applications on the machine. A Jetson's memory clock also takes
# --volume /sys/kernel/debug:/sys/kernel/debug. After `docker kill` the next start gives the clocks
# back, or: docker run .. dvfo -m hw.restore
#
# On a Jetson's GPU: --build-arg BASE=.. with an image of NVIDIA's for its JetPack that has Python,
# --build-arg INSTALL="--runtime .. --index .." from the table in docs/board.md, and --runtime nvidia.
#
# Not run: no container engine was at hand when this was written.

# By its date: a tag that does not move, for both architectures. Its Python is the tests' own, 3.11.
ARG BASE=debian:bookworm-20260918-slim
FROM ${BASE}

RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/dvfo
COPY . .

ARG INSTALL=""
# Several words, split on purpose.
RUN ./install.sh ${INSTALL}

# Only root may write below /sys.
USER root
ENTRYPOINT ["/opt/dvfo/.venv/bin/python"]
CMD ["-m", "hw.doctor"]
