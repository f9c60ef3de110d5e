// The chapter's clients: each sends its next request when the last one is answered.

import { Agent, get } from "node:http";

/**
 * @param {{ port: number, clients: number, requests: number }} settings
 * @returns {Promise<{ meanMs: number, shares: Record<string, number> }>} shares: answers by backend
 */
export async function closedLoop({ port, clients, requests }) {
  const agent = new Agent({ keepAlive: true, maxSockets: clients });
  /** @type {Record<string, number>} */
  const shares = {};
  let started = 0;
  let totalMs = 0;

  const client = async () => {
    while (started < requests) {
      started++;
      const beganMs = performance.now();
      const backend = await ask(agent, port);
      totalMs += performance.now() - beganMs;
      shares[backend] = (shares[backend] ?? 0) + 1;
    }
  };
  try {
    await Promise.all(Array.from({ length: clients }, client));
  } finally {
    agent.destroy();
  }
  return { meanMs: totalMs / requests, shares };
}

/** @param {Agent} agent @param {number} port @returns {Promise<string>} name of the backend that answered */
function ask(agent, port) {
  return new Promise((resolve, reject) => {
    const request = get({ host: "127.0.0.1", port, agent, timeout: 30_000 }, (response) => {
      response.resume();
      response.on("error", reject);
      response.on("end", () => {
        if (response.statusCode === 200) resolve(String(response.headers["x-backend"]));
        else reject(new Error(`answered with ${response.statusCode}`));
      });
    });
    request.on("timeout", () => request.destroy(new Error("no answer for 30 s")));
    request.on("error", reject);
  });
}
