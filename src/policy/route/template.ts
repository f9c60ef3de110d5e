/** What a field value may mention in braces. */
export const TEMPLATE_VARIABLES = ["backend", "client", "request-id", "route"] as const;

export type TemplateVariable = (typeof TEMPLATE_VARIABLES)[number];

/** The values of one exchange. `backend` is the id of the backend, empty before one was picked. */
export interface TemplateValues {
  readonly backend: string;
  readonly client: string;
  readonly requestId: string;
  readonly route: string;
}

/** A field value, cut where variables go in. */
export interface Template {
  /** The whole value where no variable is mentioned, else undefined. */
  readonly constant: string | undefined;
  /** Text and variables in turn: even places are text, odd ones are variables. */
  readonly parts: readonly string[];
  /** Mentions `{backend}`: has to be rendered anew for each attempt. */
  readonly perBackend: boolean;
}

/** Why a text is no template: the variable that does not exist, as written between the braces. */
export interface UnknownVariable {
  readonly unknown: string;
}

const VARIABLE = /\{([a-z][a-z0-9-]*)\}/gi;

/** Cuts `text` at its variables. Braces around anything but a name (`{"json": 1}`) are plain text. */
export function parseTemplate(text: string): Template | UnknownVariable {
  const parts = text.split(VARIABLE);
  for (let at = 1; at < parts.length; at += 2) {
    const name = parts[at]!;
    if (!(TEMPLATE_VARIABLES as readonly string[]).includes(name)) return { unknown: name };
  }
  const perBackend = parts.some((part, at) => at % 2 === 1 && part === "backend");
  return { constant: parts.length === 1 ? text : undefined, parts, perBackend };
}

/** The value for one exchange. */
export function renderTemplate(template: Template, values: TemplateValues): string {
  if (template.constant !== undefined) return template.constant;
  let text = "";
  const { parts } = template;
  for (let at = 0; at < parts.length; at++) {
    text += at % 2 === 0 ? parts[at]! : valueFor(parts[at] as TemplateVariable, values);
  }
  return text;
}

function valueFor(variable: TemplateVariable, values: TemplateValues): string {
  switch (variable) {
    case "backend":
      return values.backend;
    case "client":
      return values.client;
    case "request-id":
      return values.requestId;
    case "route":
      return values.route;
  }
}
