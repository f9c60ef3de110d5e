import { CommandError, defineCommand, flagOption, textOption } from "./command.ts";
import { POLICIES, type PolicyName } from "./demo/chapter.ts";
import { Demo } from "./demo/demo.ts";
import { isPolicyName } from "./demo/schedule.ts";

export default defineCommand({
  args: "",
  argsAbout: {},
  details:
    "Three servers of 100, 50 and 25 % capacity, eight clients and a Spillway between them, all on this machine. One policy follows the other, then a server is lost and comes back. On a terminal the keys 1 2 3 stop and start a server, n goes on to the next policy and q quits.",
  options: {
    policy: textOption("name", `only this policy: ${POLICIES.join(", ")}`, "p"),
    seconds: textOption("number", "end after this long and print the figures"),
    noOutage: flagOption("lose no server"),
  },
  examples: [
    "spillway demo",
    "spillway demo --policy least-connections",
    "spillway demo --seconds 60 --no-outage    # figures for the three policies, then the end",
  ],
  async run({ options, terminal }) {
    const ended = new AbortController();
    const end = (): void => ended.abort();
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, end);
    const { NO_COLOR } = terminal.environment;
    const demo = new Demo({
      ...(options.policy === undefined ? {} : { policy: policyOf(options.policy) }),
      ...(options.seconds === undefined ? {} : { seconds: secondsOf(options.seconds) }),
      outage: !options.noOutage,
      color: process.stdout.isTTY === true && (NO_COLOR === undefined || NO_COLOR === ""),
    });
    try {
      return await demo.run(process.stdin, process.stdout, ended.signal);
    } finally {
      for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.off(signal, end);
    }
  },
});

function policyOf(name: string): PolicyName {
  if (isPolicyName(name)) return name;
  throw new CommandError(`--policy "${name}" is not in the demo. Choose ${POLICIES.join(", ")}.`, 2);
}

function secondsOf(text: string): number {
  const seconds = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && seconds > 0 && seconds <= 86_400) return seconds;
  throw new CommandError(`--seconds "${text}" is no number of seconds. Write 60, say; a day is the most.`, 2);
}
