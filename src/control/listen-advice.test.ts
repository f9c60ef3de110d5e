import { expect, test } from "vitest";
import { explainListenError } from "./listen-advice.ts";

test.each([
  ["EADDRINUSE", "127.0.0.1:8080", /^cannot listen on 127\.0\.0\.1:8080: .*in use.*sport = :8080/],
  ["EACCES", ":80", /^cannot listen on :80: permission denied.*setcap/],
  ["EADDRNOTAVAIL", "192.0.2.1:80", /no interface of this machine/],
  ["ENOTFOUND", "nowhere.test:80", /does not resolve/],
  ["EAFNOSUPPORT", "[::1]:80", /no IPv6/],
  ["EMFILE", ":80", /too many open files.*ulimit -n/],
  ["EADDRINUSE", "unix:/run/s.sock", /another process listens on it/],
  ["EEXIST", "unix:/run/s.sock", /is no socket/],
  ["ENOENT", "unix:/run/none/s.sock", /mkdir -p \/run\/none$/],
  ["EACCES", "unix:/run/s.sock", /this user may write/],
])("%s on %s is one line with the address and the fix", (code, address, expected) => {
  const line = explainListenError({ code, address, message: "raw" });
  expect(line).toMatch(expected);
  expect(line).not.toContain("\n");
});

test("an unknown code keeps the system's own words", () => {
  expect(explainListenError({ code: "EWEIRD", address: ":80", message: "listen EWEIRD" })).toBe(
    "cannot listen on :80: listen EWEIRD",
  );
});
