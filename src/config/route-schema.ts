import { z } from "zod";
import { compileExpression } from "../policy/route/expression.ts";
import type { ActionOptions, HeaderOption, NamedPattern, PathPattern } from "../policy/route/options.ts";
import { parseTemplate, TEMPLATE_VARIABLES } from "../policy/route/template.ts";
import { duration, integer, leaf, listOf, listOrOne, parseText, text } from "./leaf.ts";
import { priority, rateLimit } from "./load-schema.ts";
import { named, respond } from "./respond-schema.ts";
import * as check from "./text-checks.ts";
import { describe, type Wrong } from "./values.ts";

const path = leaf<string | { regex: string }, PathPattern>(
  {
    anyOf: [
      { type: "string", pattern: "^/" },
      {
        type: "object",
        properties: {
          regex: { type: "string", description: "Found anywhere in the path, unless `^` and `$` hold it at the ends." },
        },
        required: ["regex"],
        additionalProperties: false,
      },
    ],
  },
  parsePath,
);

/** `/x` is that path, `/x/*` what begins with `/x/`, `{ regex }` an expression. */
function parsePath(value: unknown): PathPattern | Wrong {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return parseExpression(value);
  if (typeof value !== "string") {
    return {
      code: "CONFIG_PATH",
      wrong: `${describe(value)} is no path`,
      fix: 'Write /x, /x/* or { regex: "^/x/[0-9]+$" }',
    };
  }
  const wrong = check.pathMistake(value);
  if (wrong !== undefined) return wrong;
  const star = value.indexOf("*");
  if (star === -1) return { kind: "exact", path: value };
  if (star === value.length - 1 && value.endsWith("/*")) return { kind: "prefix", prefix: value.slice(0, -1) };
  return {
    code: "CONFIG_PATH",
    wrong: `"${value}" has a star where none may stand`,
    fix: 'End with /* for everything below a path, or write { regex: "..." }',
  };
}

function parseExpression(block: object): PathPattern | Wrong {
  const keys = Object.keys(block);
  const stray = keys.find((key) => key !== "regex");
  if (stray !== undefined || keys.length === 0) {
    return {
      code: "CONFIG_PATH",
      wrong: stray === undefined ? "regex is missing" : `"${stray}" has no meaning here`,
      fix: 'Write { regex: "^/x/[0-9]+$" }',
    };
  }
  return parseText((block as { regex: unknown }).regex, (source): PathPattern | Wrong => {
    const compiled = compileExpression(source);
    if (!("mistake" in compiled)) return { kind: "expression", source };
    return { code: "CONFIG_REGEX", wrong: compiled.mistake, fix: compiled.fix };
  });
}

const wanted = leaf<string | true, string | true>({ anyOf: [{ type: "string" }, { const: true }] }, (value) =>
  value === true ? true : parseText(value, check.headerValue),
);

const wantedParameter = leaf<string | true, string | true>({ anyOf: [{ type: "string" }, { const: true }] }, (value) =>
  value === true ? true : parseText(value, queryValue),
);

function queryValue(value: string): string | Wrong {
  if (/^[\x21-\x7e]*$/.test(value) && !/[&#]/.test(value)) return value;
  return {
    code: "CONFIG_QUERY",
    wrong: `"${value}" is no value of a parameter as it is sent`,
    fix: "Write it percent-encoded",
  };
}

function patterns(record: Record<string, string | true>, lower: boolean): NamedPattern[] {
  return Object.entries(record).map(([name, value]) => ({ name: lower ? name.toLowerCase() : name, value }));
}

const match = z.strictObject({
  host: listOrOne(text(check.hostPattern))
    .optional()
    .describe(
      "Host the client asked for, without port, in any case: `shop.test`, or `*.shop.test` for every name below it, at any depth. One, or a list.",
    ),
  path: path
    .optional()
    .describe(
      'Path as sent, before `?`, never decoded. `/x` is that path alone, `/x/*` every path that begins with `/x/`, `{ regex: "^/u/[0-9]+$" }` an expression, which runs in linear time and knows no look-around and no back-references.',
    ),
  method: listOrOne(text(check.method)).optional().describe("Request method, one or a list."),
  headers: named(wanted, check.headerName)
    .transform((record) => patterns(record, true))
    .optional()
    .describe(
      "Fields that have to be there, with exactly this value, or with any value where `true` is written. Of repeated fields all values are compared together, joined by `, `.",
    ),
  query: named(wantedParameter, check.queryName)
    .transform((record) => patterns(record, false))
    .optional()
    .describe(
      "Query parameters that have to be there, with exactly this value as sent, or with any value where `true` is written.",
    ),
  client: listOrOne(text(check.cidr))
    .optional()
    .describe("Addresses and blocks the client has to come from, trusted proxies taken into account."),
});

function templateValue(value: string): string | Wrong {
  const checked = check.headerValue(value);
  if (typeof checked !== "string") return checked;
  const template = parseTemplate(value);
  if (!("unknown" in template)) return value;
  return {
    code: "CONFIG_TEMPLATE",
    wrong: `there is no variable {${template.unknown}}`,
    fix: `Write ${listOf(TEMPLATE_VARIABLES.map((name) => `{${name}}`))}`,
  };
}

const changedFields = named(text(templateValue), check.changeableHeader)
  .transform((record): HeaderOption[] => Object.entries(record).map(([name, value]) => ({ name, value })))
  .prefault({});

const headerChanges = z.strictObject({
  set: changedFields.describe(
    "Fields to set, replacing what is there. Values may hold `{backend}`, `{client}`, `{request-id}` and `{route}`.",
  ),
  add: changedFields.describe("Fields to add beside what is there. The same variables."),
  remove: z
    .array(text(check.changeableHeader))
    .prefault([])
    .describe("Names of fields to remove. Removing comes first."),
});

const rewrite = z.strictObject({
  stripPrefix: text(check.pathPrefix)
    .optional()
    .describe(
      "Taken off the front of the path where it begins so: `/v1` makes `/v1/x` into `/x` and `/v1` into `/`. Other paths stay as they are.",
    ),
  addPrefix: text(check.pathPrefix)
    .optional()
    .describe("Put in front of the path, after `stripPrefix`: `/api` makes `/x` into `/api/x`."),
});

const REDIRECTS = [301, 302, 303, 307, 308] as const;

const redirect = z.strictObject({
  to: text(check.redirectTarget).describe("Where the client is sent: a URL, or a path on the same host."),
  status: leaf<(typeof REDIRECTS)[number], number>({ enum: REDIRECTS }, (value) =>
    (REDIRECTS as readonly unknown[]).includes(Number(value))
      ? Number(value)
      : {
          code: "CONFIG_STATUS",
          wrong: `${describe(value)} is no status of a redirect`,
          fix: "Write 301, 302, 303, 307 or 308",
        },
  )
    .prefault(307)
    .describe("Status of the answer. The permanent ones, 301 and 308, are remembered by browsers."),
});

const answer = respond(200);

const split = z.array(
  z.strictObject({
    upstream: text(check.name).describe("Name of an upstream."),
    weight: integer({ min: 0, max: 1_000_000 }).describe("Its share, relative to the others."),
  }),
);

/** What a route can do, by the key that says so. */
export const ACTIONS = ["upstream", "split", "redirect", "respond"] as const;

/** One route of a listener. */
export const routeSchema = z
  .strictObject({
    name: text(check.name)
      .optional()
      .describe(
        "Name of the route in logs and in the variable `{route}`. Default: `route-1` and so on, by its place in the list.",
      ),
    match: match
      .prefault({})
      .describe(
        "What a request has to look like. All that is written has to hold; an empty block takes every request.",
      ),
    rewrite: rewrite
      .prefault({})
      .describe(
        "Changes to the path before it is sent on. A path whose `..` would lead out of the prefix of the route, or into another route, is answered 400.",
      ),
    headers: z
      .strictObject({
        request: headerChanges.prefault({}).describe("Changes to the fields a backend gets."),
        response: headerChanges.prefault({}).describe("Changes to the fields a client gets."),
      })
      .prefault({})
      .describe("Changes to fields."),
    timeout: duration({ min: "1ms", max: "24d", unlimited: true })
      .prefault("unlimited")
      .describe(
        "From the request head to the end of the response, all attempts together. Then the answer is 504, or the response is cut where it has begun.",
      ),
    priority: priority
      .prefault("normal")
      .describe(
        "Who goes first when exchanges wait for a backend, and who stays when the queue is full: `high`, `normal` or `low`, or a block with a `header` that says so for each request.",
      ),
    rateLimit: rateLimit
      .prefault(false)
      .describe(
        "How often a client may come. What is beyond is answered 429, with RateLimit and Retry-After fields. Each worker counts what it gets.",
      ),
    upstream: text(check.name).optional().describe("Send the request to this upstream."),
    split: split.optional().describe("Send the request to one of several upstreams, drawn by weight for each request."),
    redirect: redirect.optional().describe("Send the client elsewhere."),
    respond: answer.optional().describe("Answer without a backend."),
  })
  .meta({ oneOf: ACTIONS.map((action) => ({ required: [action] })) })
  .transform((route, context) => {
    const { name, match, rewrite, headers, timeout, priority, rateLimit } = route;
    const action = actionOf(route);
    if (action === undefined) {
      context.addIssue({
        code: "custom",
        message: "a route needs exactly one action",
        params: { code: "CONFIG_ACTION", fix: `Write one of ${ACTIONS.join(", ")}` },
      });
      return z.NEVER;
    }
    return { name, match, rewrite, headers, timeout, priority, rateLimit, action };
  });

interface Actions {
  readonly upstream?: string | undefined;
  readonly split?: z.output<typeof split> | undefined;
  readonly redirect?: z.output<typeof redirect> | undefined;
  readonly respond?: z.output<typeof answer> | undefined;
}

function actionOf(route: Actions): ActionOptions | undefined {
  if (ACTIONS.filter((key) => route[key] !== undefined).length !== 1) return undefined;
  if (route.upstream !== undefined) return { kind: "upstream", upstream: route.upstream };
  if (route.split !== undefined) return { kind: "split", split: route.split };
  if (route.redirect !== undefined) return { kind: "redirect", ...route.redirect };
  return { kind: "respond", ...route.respond! };
}
