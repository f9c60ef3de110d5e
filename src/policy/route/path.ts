export interface PathMatcher {
  matches(target: string, end: number): boolean;
}
