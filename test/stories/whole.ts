import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { BackendDocument, StatusDocument } from "../../src/admin/status.ts";
import type { SettingsInput } from "../../src/config/settings.ts";
import { SpillwayProcess } from "../process/spillway-process.ts";

/** `spillway run FILE` as a process, ended when the test is over. */
export interface Whole {
  readonly spillway: SpillwayProcess;
  readonly port: number;
  status(): Promise<StatusDocument>;
  /** Of `/api/v1/status`, in the order of the configuration. */
  states(): Promise<readonly BackendDocument[]>;
  /** Sum of a metric over all rows whose labels contain `labels`. */
  metric(name: string, labels?: string): Promise<number>;
}

export interface WholeOptions {
  readonly upstream: SettingsInput["upstreams"][string];
  readonly workers?: number;
  readonly timeouts?: NonNullable<SettingsInput["listeners"][number]["timeouts"]>;
}

/** Starts it over one upstream, `web`. JSON is YAML, too. */
export async function runWhole({ upstream, workers = 1, timeouts = {} }: WholeOptions): Promise<Whole> {
  const folder = mkdtempSync(join(tmpdir(), "spillway-story-"));
  const file = join(folder, "spillway.yaml");
  const settings: SettingsInput = {
    workers,
    admin: { listen: "127.0.0.1:0" },
    listeners: [{ listen: "127.0.0.1:0", timeouts, upstream: "web" }],
    upstreams: { web: upstream },
  };
  writeFileSync(file, JSON.stringify(settings));
  const spillway = new SpillwayProcess(["run", file]);
  onTestFinished(async () => {
    spillway.child.kill("SIGKILL");
    await spillway.exited;
    rmSync(folder, { recursive: true });
  });
  const port = await spillway.port();
  const admin = `http://127.0.0.1:${await spillway.adminPort()}`;
  const status = async () => (await (await fetch(`${admin}/api/v1/status`)).json()) as StatusDocument;
  return {
    spillway,
    port,
    status,
    states: async () => (await status()).upstreams[0]!.backends,
    metric: async (name, labels = "") => {
      const text = await (await fetch(`${admin}/metrics`)).text();
      const rows = text.split("\n").filter((line) => line.startsWith(`${name}{`) && line.includes(labels));
      return rows.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
    },
  };
}
