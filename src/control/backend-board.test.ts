import { describe, expect, test } from "vitest";
import { settingsOf } from "../../test/support/fake-plane.ts";
import type { BackendCondition } from "../proxy/data-plane-api.ts";
import { assignSlots } from "../proxy/slots.ts";
import { BackendBoard } from "./backend-board.ts";

function board(state: "up" | "drain" | "down" = "up", workers = 1) {
  const settings = settingsOf({
    upstreams: { web: { backends: [{ url: "http://127.0.0.1:9001", weight: 3, state }] } },
  });
  const of = new BackendBoard(assignSlots(settings), workers, 1_000);
  const shown = () => {
    const { state: now, reason, since } = of.views()[0]!;
    return [now, reason, since];
  };
  const flags = () => {
    const { circuit, ejected } = of.views()[0]!;
    return [circuit, ejected];
  };
  return { of, shown, flags };
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

const fine = (reason: string): BackendCondition => ({ circuit: "closed", ejected: false, reason });
const open = (reason: string): BackendCondition => ({ circuit: "open", ejected: false, reason });
const halfOpen = (reason: string): BackendCondition => ({ circuit: "half-open", ejected: false, reason });
const ejected = (reason: string): BackendCondition => ({ circuit: "closed", ejected: true, reason });

describe("what policies think of a backend", () => {
  test("a circuit that opens, tries and closes is shown at each step, since when and why", () => {
    const { of, shown, flags } = board();
    of.setCondition(0, 0, open("5 failures in a row"), 2_000);
    expect([shown(), flags()]).toEqual([
      ["open", "5 failures in a row", 2_000],
      ["open", false],
    ]);
    of.setCondition(0, 0, halfOpen("5 s have passed"), 3_000);
    expect([shown(), flags()]).toEqual([
      ["half-open", "5 s have passed", 3_000],
      ["half-open", false],
    ]);
    of.setCondition(0, 0, fine("the trial succeeded"), 4_000);
    expect([shown(), flags()]).toEqual([
      ["up", "the trial succeeded", 4_000],
      ["closed", false],
    ]);
  });

  test("an open circuit outranks an ejection, and that a half-open circuit", () => {
    const { of, shown, flags } = board();
    of.setCondition(0, 0, { circuit: "open", ejected: true, reason: "both" }, 2_000);
    expect([shown()[0], flags()]).toEqual(["open", ["open", true]]);
    of.setCondition(0, 0, { circuit: "half-open", ejected: true, reason: "still out" }, 3_000);
    expect([shown(), flags()]).toEqual([
      ["ejected", "still out", 3_000],
      ["half-open", true],
    ]);
  });

  test("checks and the configuration outrank it, and it shows again when they have nothing to say", () => {
    const { of, shown, flags } = board();
    of.setCondition(0, 0, ejected("5 failures in a row"), 2_000);
    of.setHealth(0, false, "connection refused", 3_000);
    expect([shown(), flags()]).toEqual([
      ["down", "connection refused", 3_000],
      ["closed", true],
    ]);
    of.setHealth(0, true, "check passed", 4_000);
    expect(shown()).toEqual(["ejected", "5 failures in a row", 4_000]);
    of.setCondition(0, 0, fine("a check passed"), 5_000);
    expect(shown()).toEqual(["up", "a check passed", 5_000]);
    for (const [state, word] of [
      ["drain", "draining"],
      ["down", "down"],
    ] as const) {
      const other = board(state);
      other.of.setCondition(0, 0, open("5 failures in a row"), 2_000);
      expect(other.shown()).toEqual([word, "set in the configuration", 1_000]);
    }
  });

  test("of several workers the worst is shown, and in how many it is so", () => {
    const { of, shown, flags } = board("up", 3);
    of.setCondition(1, 0, ejected("5 failures in a row"), 2_000);
    expect(shown()).toEqual(["ejected", "ejected in 1 of 3 workers: 5 failures in a row", 2_000]);
    of.setCondition(0, 0, ejected("success rate 12 %"), 3_000);
    expect(shown()).toEqual(["ejected", "ejected in 2 of 3 workers: success rate 12 %", 2_000]);
    of.setCondition(2, 0, open("60 % of 40 requests failed"), 4_000);
    expect([shown(), flags()]).toEqual([
      ["open", "open in 1 of 3 workers: 60 % of 40 requests failed", 4_000],
      ["open", true],
    ]);
    of.setCondition(2, 0, halfOpen("5 s have passed"), 5_000);
    of.setCondition(0, 0, fine("30 s have passed"), 6_000);
    expect([shown(), flags()]).toEqual([
      ["ejected", "ejected in 1 of 3 workers: 5 failures in a row", 5_000],
      ["half-open", true],
    ]);
  });

  test("what a dead worker thought is forgotten, what the others think stays", () => {
    const { of, shown } = board("up", 2);
    of.setCondition(0, 0, ejected("5 failures in a row"), 2_000);
    of.setCondition(1, 0, open("50 % failed"), 3_000);
    of.forgetWorker(1, 4_000);
    expect(shown()).toEqual(["ejected", "ejected in 1 of 2 workers: 5 failures in a row", 4_000]);
    of.forgetWorker(1, 5_000);
    of.forgetWorker(0, 6_000);
    expect(shown()).toEqual(["up", "worker 0, which kept it out, died", 6_000]);
  });

  test("a slot that is not there changes nothing", () => {
    const { of, shown } = board();
    of.setCondition(0, 7, open("5 failures in a row"), 2_000);
    expect(shown()).toEqual(["up", "", 1_000]);
  });
});

test("a condition that ends while checks fail says nothing in favour of the backend", () => {
  const { of, shown } = board("up");
  of.setCondition(0, 0, { circuit: "closed", ejected: true, reason: "5 failures in a row" }, 2_000);
  of.setHealth(0, false, "connection refused", 3_000);
  of.setHealth(0, true, "check passed", 4_000);
  of.setCondition(0, 0, { circuit: "closed", ejected: false, reason: "" }, 4_001);
  expect(shown()).toEqual(["up", "check passed", 4_001]);
});
