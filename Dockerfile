# SPDX-License-Identifier: Apache-2.0
# docker build -t ss1 .     then: docker run --rm -v "$PWD/model:/model:ro" ss1 inspect /model
FROM debian:12 AS build
RUN apt-get update && apt-get install -y --no-install-recommends g++ meson ninja-build pkg-config cmake libhwy-dev libxsimd-dev \
        nlohmann-json3-dev libcli11-dev libeigen3-dev libicu-dev python3 python3-numpy
COPY . /src
RUN meson setup /build /src --buildtype=release --prefix=/usr/local -Ddefault_library=shared -Dtests=false -Dbench=false \
        -Dexamples=false && meson install -C /build --destdir /install

FROM debian:12-slim
RUN apt-get update && apt-get install -y --no-install-recommends libicu72 libstdc++6 python3 python3-numpy \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /install /
RUN ldconfig
ENTRYPOINT ["ss1"]
CMD ["--help"]
