# Lethe on Ray's own image, for a cluster's head and workers.
#   docker build -t lethe --build-arg COMMIT=$(git rev-parse HEAD) .           CUDA; studies record the commit
#   docker build -t lethe:cpu --build-arg RAY=2.60.0-py311-cpu --build-arg INDEX=https://download.pytorch.org/whl/cpu .
ARG RAY=2.60.0-py311-gpu
FROM rayproject/ray:${RAY}
ARG INDEX=https://pypi.org/simple
COPY --chown=ray pyproject.toml constraints.txt README.md LICENSE /home/ray/lethe/
COPY --chown=ray study /home/ray/lethe/study
COPY --chown=ray trainables /home/ray/lethe/trainables
COPY --chown=ray search_spaces /home/ray/lethe/search_spaces
COPY --chown=ray analysis /home/ray/lethe/analysis
RUN pip install --no-cache-dir --extra-index-url ${INDEX} -c /home/ray/lethe/constraints.txt /home/ray/lethe boto3 psycopg2-binary
ARG COMMIT=unknown
ENV LETHE_COMMIT=${COMMIT}
WORKDIR /home/ray/lethe
