import { createHash } from "node:crypto";
import { reportText } from "../metrics/report.ts";
import type { AdminSource } from "./source.ts";

const STYLE = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 48rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.4rem; margin: 0 }
nav { display: flex; flex-wrap: wrap; gap: 0 1.2rem; margin: 1rem 0 }
pre { font: 0.8rem/1.35 ui-monospace, monospace; overflow-x: auto; padding: 1rem; border: 1px solid #8886; border-radius: 6px }
`;

/** Lets the page use its own style sheet and nothing else, from anywhere. */
export const PAGE_POLICY = `default-src 'none'; style-src 'sha256-${createHash("sha256").update(STYLE).digest("base64")}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

const LINKS = ["/api/v1/status", "/api/v1/report", "/metrics", "/healthz", "/readyz", "/openapi.json"];

/** The overview at `/`: readiness, links and the report, renewed by the browser. @param now since the Unix epoch. */
export function page(source: AdminSource, now: number): string {
  const { ready, reason } = source.ready();
  const { workers, listeners } = source.status();
  const facts = [
    ready ? "ready" : `not ready: ${reason}`,
    `up ${uptime(now - source.startedAt)}`,
    `${workers} ${workers === 1 ? "worker" : "workers"}`,
    `listening on ${listeners.join(", ") || "nothing"}`,
  ];
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="2">
<title>Spillway</title>
<style>${STYLE}</style>
</head>
<body>
<h1>Spillway ${escaped(source.version)}</h1>
<p>${escaped(facts.join(" · "))}</p>
<nav>${LINKS.map((path) => `<a href="${path}">${path}</a>`).join("\n")}</nav>
<pre>${escaped(reportText(source.snapshot()))}</pre>
</body>
</html>
`;
}

function uptime(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const [days, hours, minutes] = [
    Math.floor(seconds / 86_400),
    Math.floor(seconds / 3600) % 24,
    Math.floor(seconds / 60) % 60,
  ];
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
