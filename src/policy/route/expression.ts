export interface Expression {
  test(text: string): boolean;
}
export function compileExpression(_source: string): Expression | { readonly mistake: string; readonly fix: string } {
  throw new Error("soon");
}
