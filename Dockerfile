# docker build -t realign-playground .
# docker run --rm -p 127.0.0.1:7860:7860 -v realign-playground:/data realign-playground
# With CUDA: docker build --build-arg TORCH=cu130, then docker run --gpus all.
FROM python:3.11-slim-bookworm

# Which builds of torch: cpu, cu130 and others that uv knows, or none for those of the ordinary index, which carry CUDA.
ARG TORCH=cpu
RUN useradd --create-home --uid 1000 player && mkdir /data /models && chown player /data /models
WORKDIR /app
COPY requirements.txt .
# pip would have to be told the address of torch's CPU builds; uv knows where PyTorch keeps each kind. It does not stay.
RUN pip install --no-cache-dir --target /tmp/uv uv==0.13.9 \
    && /tmp/uv/bin/uv pip install --python /usr/local/bin/python --no-cache --compile-bytecode \
        ${TORCH:+--torch-backend="$TORCH"} -r requirements.txt \
    && rm -r /tmp/uv
COPY . .

USER 1000
# No training: it needs to write where only the image does, and what it makes would end with the container.
ENV HOST=0.0.0.0 PORT=7860 PLAYGROUND_DATABASE=/data/playground.db PLAYGROUND_CACHE=/models PLAYGROUND_TRAIN=0 \
    PLAYGROUND_PROXIES=0 PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
RUN python -m playground fetch
VOLUME /data
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/config\", timeout=8)"]
# Runs under way are saved as they are when the container is stopped.
STOPSIGNAL SIGTERM
CMD ["python", "app.py"]
