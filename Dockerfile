# The application. The image contains no models: the stack mounts models/ read-only.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS packages
RUN python -m venv /opt/keraport
# Or requirements-gpu.lock, with CUDA: deploy/gpu.
ARG LOCK=requirements.lock
COPY ${LOCK} requirements.lock
# Serving needs neither headers nor libclang (TensorFlow lists it and never loads it) nor pip
# itself. pip compiles the rest, because the final root is read-only.
RUN /opt/keraport/bin/pip install --quiet --no-cache-dir --disable-pip-version-check \
        --no-deps --require-hashes --requirement requirements.lock \
    && /opt/keraport/bin/pip uninstall --quiet --yes libclang pip \
    && rm -rf /opt/keraport/lib/python3*/site-packages/tensorflow/include \
    && find /opt/keraport -name '*.h' -delete

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="Keraport" \
      org.opencontainers.image.description="Turns a folder of Keras models into an HTTPS web app and API" \
      org.opencontainers.image.licenses="Apache-2.0"
# A tmpfs mounted on uploads/ inherits its mode, and a new volume on events/ or cache/ its owner.
RUN rm -rf /usr/local/include/python3* /usr/include/python3* \
    && mkdir -p /srv/keraport/models /srv/keraport/uploads /srv/keraport/events /srv/keraport/cache \
    && chmod 1777 /srv/keraport/uploads \
    && chown 10001:10001 /srv/keraport/events /srv/keraport/cache
COPY --from=packages /opt/keraport /opt/keraport
WORKDIR /srv/keraport
COPY app app
COPY frontend frontend
# The server writes to /tmp and uploads/, both tmpfs in the stack, and to events/ and cache/.
ENV PATH=/opt/keraport/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    KERAPORT_HOST=0.0.0.0 \
    KERAPORT_PORT=5000
USER 10001:10001
EXPOSE 5000
# Reading a model file may take half an hour (app/serving/reading/process.py).
HEALTHCHECK --interval=3s --timeout=5s --start-period=1860s --retries=3 \
    CMD ["python", "-I", "-S", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['KERAPORT_PORT'] + '/readyz', timeout=4)"]
CMD ["python", "-m", "app", "serve"]
