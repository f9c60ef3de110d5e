import { type Context, Hono } from "hono";
import type { ProcessFacts } from "../metrics/metrics.ts";
import { PROMETHEUS_CONTENT_TYPE, prometheusText } from "../metrics/prometheus.ts";
import { reportText } from "../metrics/report.ts";
import { explanationJson } from "../proxy/explanation.ts";
import { describedRequest } from "./explain-query.ts";
import { openApi } from "./openapi.ts";
import { PAGE_POLICY, page } from "./page.ts";
import type { AdminSource } from "./source.ts";
import { statusDocument } from "./status.ts";

/** The admin server's routes. `failed` hears of errors behind an answer 500. */
export function adminApp(source: AdminSource, failed: (error: Error) => void): Hono {
  const app = new Hono();
  app.use(async (context, next) => {
    await next();
    context.header("cache-control", "no-store");
    context.header("x-content-type-options", "nosniff");
    context.header("referrer-policy", "no-referrer");
    context.header("content-security-policy", PAGE_POLICY);
  });

  const answers: Record<string, (context: Context) => Response | Promise<Response>> = {
    "/": (context) => context.html(page(source, Date.now())),
    "/metrics": (context) =>
      context.body(prometheusText(source.snapshot(), processFacts(source)), 200, {
        "content-type": PROMETHEUS_CONTENT_TYPE,
      }),
    "/healthz": (context) => context.json({ alive: true }),
    "/readyz": (context) => {
      const readiness = source.ready();
      return context.json(readiness, readiness.ready ? 200 : 503);
    },
    "/api/v1/status": (context) => context.json(statusDocument(source, Date.now())),
    "/api/v1/report": (context) => context.text(reportText(source.snapshot())),
    "/api/v1/explain": (context) => explained(context, source),
    "/openapi.json": (context) => context.json(openApi(source.version)),
  };
  for (const [path, answer] of Object.entries(answers)) {
    app.get(path, answer);
    app.all(path, (context) => {
      context.header("allow", "GET, HEAD");
      return refusal(context, 405, `${path} takes GET and HEAD`);
    });
  }

  app.notFound((context) => refusal(context, 404, "nothing is here; /openapi.json lists what is"));
  app.onError((error, context) => {
    failed(error);
    return refusal(context, 500, "this went wrong on our side; the log says more");
  });
  return app;
}

async function explained(context: Context, source: AdminSource): Promise<Response> {
  const request = describedRequest(new URL(context.req.url).searchParams, source.status().listeners.length);
  if ("wrong" in request) return refusal(context, 400, request.wrong);
  const explanation = await source.explain(request);
  if (explanation === undefined) return refusal(context, 503, "no worker answers now; ask again");
  return context.body(explanationJson(explanation), 200, { "content-type": "application/json" });
}

function refusal(context: Context, status: 400 | 404 | 405 | 500 | 503, error: string): Response {
  return context.json({ error }, status);
}

function processFacts(source: AdminSource): ProcessFacts {
  const { user, system } = process.cpuUsage();
  return {
    version: source.version,
    node: process.version,
    workers: source.status().workers,
    startedAt: source.startedAt,
    residentBytes: process.memoryUsage.rss(),
    cpuSeconds: (user + system) / 1e6,
  };
}
