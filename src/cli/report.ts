import { formatAddress } from "../config/values.ts";
import { adminAddress, adminOptions, askInstance, parsedAnswer } from "./admin-address.ts";
import { CommandError, defineCommand, jsonOption } from "./command.ts";

export default defineCommand({
  args: "",
  argsAbout: {},
  details:
    "Requests, failures, what was shed and what was tried again, the latency distribution, and what each backend did and in which state it is, since the instance started. With --json it prints the instance's status as data, state and reason of every backend included.",
  options: {
    ...adminOptions,
    json: jsonOption,
  },
  examples: [
    "spillway report",
    "spillway report --config spillway.yaml",
    "spillway report --json | jq '.upstreams[].backends[] | {id, state, requests}'",
    "watch spillway report --admin http://127.0.0.1:9901",
  ],
  async run({ options, terminal }) {
    const address = await adminAddress(options, terminal);
    const path = options.json ? "/api/v1/status" : "/api/v1/report";
    const { status, body } = await askInstance(address, path);
    if (status !== 200) {
      throw new CommandError(
        `${formatAddress(address)} answers ${path} with status ${status}: it is no Spillway, or an older one.`,
      );
    }
    terminal.out(options.json ? `${JSON.stringify(parsedAnswer(body, address), null, 2)}\n` : body);
    return 0;
  },
});
