#!/usr/bin/env node
import { runCommandLine } from "./program.ts";
import { processTerminal } from "./terminal.ts";

// `spillway schema | head` closes our stdout: whoever reads has enough, so there is nothing left to do.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});
// Words for people that nobody reads are no reason to stop what runs.
process.stderr.on("error", () => {});

process.exitCode = await runCommandLine(process.argv.slice(2), processTerminal());
