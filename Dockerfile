# docker build -t realign-playground .
# docker run --rm -p 127.0.0.1:7860:7860 -v realign-playground:/data realign-playground
# The ordinary package of torch carries CUDA (docker run --gpus all uses it). For a small image name the index of its
# CPU builds, as PyTorch's own page on installing tells: docker build --build-arg TORCH_INDEX=ADDRESS
FROM python:3.11-slim

ARG TORCH_INDEX=
RUN useradd --create-home --uid 1000 player && mkdir /data /models && chown player /data /models
WORKDIR /app
COPY requirements.txt .
RUN torch=$(grep '^torch==' requirements.txt) \
    && pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$torch" \
    && pip install --no-cache-dir -r requirements.txt
COPY . .

USER player
ENV HOST=0.0.0.0 PORT=7860 PLAYGROUND_DATABASE=/data/playground.db PLAYGROUND_CACHE=/models PLAYGROUND_PROXIES=0 \
    PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
RUN python -m playground fetch
VOLUME /data
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/config\", timeout=8)"]
# Runs under way are saved as they are when the container is stopped.
STOPSIGNAL SIGTERM
CMD ["python", "app.py"]
