import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    projects: [
      {
        // Beside the code: fast, deterministic, no sockets but loopback ones of a moment.
        test: { name: "unit", include: ["src/**/*.test.ts"], testTimeout: 20_000 },
      },
      {
        // What spans rooms: real sockets, real processes, real peers.
        test: {
          name: "whole",
          include: ["test/**/*.test.ts", "bench/**/*.test.ts"],
          // On a machine that nobody watches, and that others use too, one that fails is run once more, and marked
          // `(retry x1)` when it passes then. That is a bug to be found, in the test or in Spillway; see CONTRIBUTING.md.
          retry: process.env.CI === "true" ? 1 : 0,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
