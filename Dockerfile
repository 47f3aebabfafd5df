# Builds the production package only: no development dependency, no shell, no root in what runs.
FROM node:24-trixie-slim AS build
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
COPY tools/node tools/node
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY tools/build.ts tools/build.ts
COPY src src
# The compiler runs by itself: tools/setup.cjs is for checkouts, and the image's Node is the one that is wanted.
RUN node tools/build.ts && npm ci --ignore-scripts --omit=dev
COPY bin bin
COPY config config
COPY LICENSE ./

FROM gcr.io/distroless/nodejs24-debian13:nonroot
WORKDIR /app
COPY --from=build /build/package.json /build/LICENSE ./
COPY --from=build /build/node_modules node_modules
COPY --from=build /build/bin bin
COPY --from=build /build/dist dist
COPY --from=build /build/config config
ENV NODE_ENV=production
# The image's user by number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 9378
# There is no shell to run a check by; the program asks its own probe.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["/nodejs/bin/node", "bin/etcd-warden", "healthcheck"]
ENTRYPOINT ["/nodejs/bin/node", "bin/etcd-warden"]
CMD ["run"]
