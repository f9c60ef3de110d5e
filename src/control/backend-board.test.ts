import { expect, test } from "vitest";
import { settingsOf } from "../../test/support/fake-plane.ts";
import { assignSlots } from "../proxy/slots.ts";
import { BackendBoard } from "./backend-board.ts";

function board(state: "up" | "drain" | "down") {
  const settings = settingsOf({
    upstreams: { web: { backends: [{ url: "http://127.0.0.1:9001", weight: 3, state }] } },
  });
  const of = new BackendBoard(assignSlots(settings), 1, 1_000);
  const shown = () => {
    const { state: now, reason, since } = of.views()[0]!;
    return [now, reason, since];
  };
  return { of, shown };
}

test("a backend is up from the start, with its address and weight", () => {
  const { of } = board("up");
  expect(of.views()).toEqual([
    {
      slot: 0,
      address: "127.0.0.1:9001",
      state: "up",
      reason: "",
      since: 1_000,
      circuit: "closed",
      ejected: false,
      weight: 3,
    },
  ]);
});

test("checks take it down and bring it back, each with its reason and time", () => {
  const { of, shown } = board("up");
  of.setHealth(0, false, "connection refused", 2_000);
  expect(shown()).toEqual(["down", "connection refused", 2_000]);
  of.setHealth(0, true, "check passed", 3_000);
  expect(shown()).toEqual(["up", "check passed", 3_000]);
});

test("what is configured down stays down whatever the checks say", () => {
  const { of, shown } = board("down");
  expect(shown()).toEqual(["down", "set in the configuration", 1_000]);
  of.setHealth(0, false, "connection refused", 2_000);
  of.setHealth(0, true, "check passed", 3_000);
  expect(shown()).toEqual(["down", "set in the configuration", 1_000]);
});

test("a draining backend that fails its checks is down, and draining again when they pass", () => {
  const { of, shown } = board("drain");
  expect(shown()).toEqual(["draining", "set in the configuration", 1_000]);
  of.setHealth(0, false, "connection refused", 2_000);
  expect(shown()).toEqual(["down", "connection refused", 2_000]);
  of.setHealth(0, true, "check passed", 3_000);
  expect(shown()).toEqual(["draining", "set in the configuration", 3_000]);
});
