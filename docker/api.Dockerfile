# The API: no torch, no model weights but their specs.
FROM python:3.12-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY pyproject.toml README.md LICENSE docker/api.lock ./
COPY model model
COPY jobs jobs
COPY workers workers
COPY service service
COPY toco toco
RUN python -m venv /opt/toco \
    && /opt/toco/bin/pip install --no-deps --require-hashes --requirement api.lock \
    && /opt/toco/bin/pip install --no-deps . \
    && find /opt/toco -name '*.safetensors' -delete

FROM python:3.12-slim-bookworm
ENV PATH=/opt/toco/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TOCO_HOST=0.0.0.0 \
    TOCO_PORT=8000 \
    TOCO_DATA_DIR=/data
RUN useradd --system --uid 10001 --home-dir /data --create-home toco
COPY --from=build /opt/toco /opt/toco
USER 10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
ENTRYPOINT ["toco"]
CMD ["serve"]
