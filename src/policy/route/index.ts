/** Routes: which upstream takes a request, and why. */
export { CidrSet, type Ip, isCidr, parseIp } from "./cidr.ts";
export { type Explanation, explainRoute, type RouteExplanation } from "./explain.ts";
export type {
  ActionOptions,
  HeaderOption,
  HeaderOptions,
  MatchOptions,
  NamedPattern,
  PathPattern,
  PriorityOptions,
  RewriteOptions,
  RouteOptions,
  RouteRateLimit,
  SplitOption,
} from "./options.ts";
export { rewriteTarget } from "./rewrite.ts";
export {
  chooseSplit,
  type HeaderRule,
  type HeaderRules,
  type Route,
  type RouteAction,
  type SplitShare,
} from "./route.ts";
export { compileRoutes, RouteTable } from "./table.ts";
export { parseTemplate, renderTemplate, type Template, type TemplateValues } from "./template.ts";
