# The worker, for a CUDA device or none. PyTorch's wheels bring CUDA's libraries with them,
# so the driver on the host is all that the image needs beside itself.
FROM python:3.12-slim-bookworm AS build
# Index that torch comes from, such as that of its wheels without CUDA; empty takes the usual one, which have it.
ARG TORCH_INDEX=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY pyproject.toml README.md LICENSE docker/worker.lock ./
COPY model model
COPY jobs jobs
COPY workers workers
COPY service service
COPY toco toco
# Wheels of another index have hashes of their own: torch and what it brings are left out of the lock then.
RUN python -m venv /opt/toco \
    && if [ -n "$TORCH_INDEX" ]; then \
         grep -oE '^(torch|torchvision)==[0-9.]+' worker.lock > torch.txt \
         && /opt/toco/bin/pip install --index-url "$TORCH_INDEX" --requirement torch.txt \
         && awk '/^[a-z]/ {kept = !/^(torch|torchvision|triton|nvidia-|cuda-)/} kept' worker.lock > hashed.lock; \
       else \
         cp worker.lock hashed.lock; \
       fi \
    && /opt/toco/bin/pip install --no-deps --require-hashes --requirement hashed.lock \
    && /opt/toco/bin/pip install --no-deps .

FROM python:3.12-slim-bookworm
ENV PATH=/opt/toco/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/data/numba \
    TOCO_CACHE_DIR=/data/cache \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    TOCO_DATA_DIR=/data
RUN useradd --system --uid 10001 --home-dir /data --create-home toco
COPY --from=build /opt/toco /opt/toco
USER 10001
VOLUME /data
# Alive is the worker whose heartbeat the records hold.
HEALTHCHECK --interval=15s --timeout=10s --start-period=180s --retries=3 \
    CMD ["toco", "worker-health"]
ENTRYPOINT ["toco"]
CMD ["worker"]
