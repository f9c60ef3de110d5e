import type { PickRequest } from "../model/request.ts";
import type { Priority } from "../resilience/options.ts";
import type { PriorityOptions } from "./options.ts";

/** How important a request of a route is. */
export function priorityOf(options: PriorityOptions, request: PickRequest): Priority {
  const { header } = options;
  if (header === undefined) return options.default;
  const word = request.header(header);
  return word === "high" || word === "normal" || word === "low" ? word : options.default;
}
