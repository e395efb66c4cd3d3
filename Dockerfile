# docker build -t lesionforge .                                 CPU
# docker build -t lesionforge --build-arg DEVICE=cuda .         NVIDIA GPU (run with --gpus all)
# docker run -v $PWD/runs:/lesionforge/runs lesionforge prepare --help      own data: docs/guide.md
FROM python:3.11-slim

ARG DEVICE=cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
WORKDIR /lesionforge

COPY requirements.lock ./
# The default index's Linux wheel is the CUDA build; the CPU build lies in PyTorch's own index.
RUN case "$DEVICE" in \
      cpu) pip install --index-url https://download.pytorch.org/whl/cpu "$(grep '^torch==' requirements.lock)" ;; \
      cuda) pip install "$(grep '^torch==' requirements.lock)" ;; \
      *) echo "DEVICE must be cpu or cuda, got $DEVICE" >&2; exit 1 ;; \
    esac \
 && pip install -r requirements.lock

COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip install --no-deps .
COPY configs ./configs
COPY scripts ./scripts

ENTRYPOINT ["lesionforge"]
CMD ["--help"]
