// What all benchmarks do around their work.

import { Missing } from "./processes.mjs";

/**
 * Shows the help where it is asked for, else runs `main` and ends the process with its exit code; with 1 and a line that
 * says so when a part is missing.
 * @param {string} name
 * @param {string} help
 * @param {boolean} wantsHelp
 * @param {() => Promise<number>} main
 */
export async function runCommand(name, help, wantsHelp, main) {
  if (wantsHelp) {
    process.stdout.write(help);
    process.exit(0);
  }
  try {
    process.exit(await main());
  } catch (error) {
    if (!(error instanceof Missing)) throw error;
    console.error(`${name}: ${error.message}`);
    process.exit(1);
  }
}
