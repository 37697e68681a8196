# `rtsep serve` in a container: see docs/container.md. Nothing is downloaded when it runs; the models are in the wheel.
FROM python:3.13-slim AS build
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --wheel-dir /wheels '.[serve]'

FROM python:3.13-slim
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels 'rtsep[serve]' \
    && useradd --create-home --uid 10001 rtsep
USER rtsep
EXPOSE 8765
# The compiled engine keeps its cache here; a volume spares every new container the first minute.
ENV XDG_CACHE_HOME=/home/rtsep/.cache
ENTRYPOINT ["rtsep"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8765"]
