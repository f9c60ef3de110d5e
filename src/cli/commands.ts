import type { CommandDefinition } from "./command.ts";

/** A command as the list shows it. Its module is loaded when it is asked for, so that others do not wait for it. */
export interface ListedCommand {
  readonly name: string;
  readonly summary: string;
  load(): Promise<{ readonly default: CommandDefinition<never> }>;
}

type Loaded = Promise<{ readonly default: CommandDefinition<never> }>;

/** Every command, in the order of `spillway --help`. */
export const commands: readonly ListedCommand[] = [
  {
    name: "run",
    summary: "Carry traffic, by a configuration or to the backends that are named",
    load: () => import("./run.ts") as unknown as Loaded,
  },
  {
    name: "demo",
    summary: "Watch policies at work: sample servers, traffic and an outage, nothing to install",
    load: () => import("./demo.ts") as unknown as Loaded,
  },
  {
    name: "check",
    summary: "Validate a configuration, explain it, and say which route takes a request",
    load: () => import("./check.ts") as unknown as Loaded,
  },
  {
    name: "explain",
    summary: "Say where a request would go, and why not elsewhere",
    load: () => import("./explain.ts") as unknown as Loaded,
  },
  {
    name: "report",
    summary: "Print the metrics of a running instance as a report",
    load: () => import("./report.ts") as unknown as Loaded,
  },
  {
    name: "init",
    summary: "Write a commented configuration to start from",
    load: () => import("./init.ts") as unknown as Loaded,
  },
  {
    name: "schema",
    summary: "Print the JSON Schema of the configuration, for editors",
    load: () => import("./schema.ts") as unknown as Loaded,
  },
];
