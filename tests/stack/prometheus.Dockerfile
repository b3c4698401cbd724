# Debian's Prometheus and blackbox exporter in the place of the official images, whose registry not
# every machine reaches.
ARG PYTHON_IMAGE=python:3.13-slim
FROM ${PYTHON_IMAGE} AS prometheus
RUN apt-get update -q \
    && apt-get install -yq --no-install-recommends prometheus prometheus-blackbox-exporter \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o 65534 -g 65534 /prometheus
ENTRYPOINT ["prometheus"]

FROM prometheus AS blackbox
ENTRYPOINT ["prometheus-blackbox-exporter"]
